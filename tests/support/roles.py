"""The template's functions, each of which has a role of its own."""

FUNCTIONS = (
    "Api",
    "Assemble",
    "Cleanup",
    "Create",
    "Restore",
    "Schedules",
    "Upload",
    "Verify",
    "Watch",
)
