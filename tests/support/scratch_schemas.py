"""What verifications make on a server."""

from tests.support.job_site import JobSite


def on_server(site: JobSite) -> set[str]:
    """All scratch schemas and loaders."""
    schemas = site.server.execute(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'lcp_verify%'"
    )
    users = site.server.execute("SELECT user FROM mysql.user WHERE user LIKE 'lcp_loader%'")
    return {str(name) for (name,) in (*schemas, *users)}


def scratch_of(site: JobSite) -> str:
    """The schema into which the one verification that is under way loads."""
    rows = site.server.execute(
        "SELECT schema_name FROM information_schema.schemata"
        " WHERE schema_name LIKE 'lcp\\_verify\\_%\\_lcp\\_staging'"
    )
    ((name,),) = rows
    return str(name)


def progress_of(site: JobSite) -> str:
    """The table in which is kept what is loaded into it."""
    schema = scratch_of(site)
    rows = site.server.execute(
        "SELECT table_name FROM information_schema.tables"
        f" WHERE table_schema = '{schema}' AND table_name LIKE 'lcp\\_load\\_%'"
    )
    ((name,),) = rows
    return f"{schema}.{name}"
