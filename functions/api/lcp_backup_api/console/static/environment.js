// What the environment is: asked once for whoever is signed in.

import { get } from "./api.js";

let asked = null;

/** What GET /backup/environment answers. */
export function environment() {
  asked ??= get("environment").catch((problem) => {
    asked = null;
    throw problem;
  });
  return asked;
}

/** Somebody else signed in, who may be told something else. */
export function forgetEnvironment() {
  asked = null;
}
