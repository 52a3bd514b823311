// What the environment is: asked now and then for whoever is signed in.

import { get } from "./api.js";

/** Milliseconds: what it restores from may change while a page stands open. */
const HOLDS_FOR = 300_000;

let asked = null;
let since = 0;

/** What GET /backup/environment answers. */
export function environment() {
  if (Date.now() - since > HOLDS_FOR) asked = null;
  if (asked === null) since = Date.now();
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
