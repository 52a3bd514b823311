// Sign-in at the pool's own page: authorization code with PKCE (RFC 7636).

import { get } from "./api.js";
import { now } from "./clock.js";
import { setSession } from "./session.js";
import { t } from "./texts.js";

const KEY = "lcp-backup-sso";

/** Leaves for the pool's page, which comes back to this one. `sso` is as the API names it. */
export async function leaveForSignIn(sso) {
  const verifier = random();
  const state = random();
  kept(() => sessionStorage.setItem(KEY, JSON.stringify({ sso, verifier, state, hash: location.hash })));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: sso.client_id,
    redirect_uri: here(),
    scope: "openid",
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
  location.assign(`https://${sso.domain}/oauth2/authorize?${query}`);
}

/** Signs in, when this page was just come back to; raises with the reason when that failed. */
export async function comeBack() {
  const query = new URLSearchParams(location.search);
  if (!query.has("code") && !query.has("error")) return;
  const left = kept(() => JSON.parse(sessionStorage.getItem(KEY) ?? "null"));
  kept(() => sessionStorage.removeItem(KEY));
  history.replaceState(null, "", here() + (left?.hash ?? ""));
  if (!left || left.state !== query.get("state")) throw new Error(t("signIn.ssoUnknown"));
  if (query.has("error")) throw new Error(query.get("error_description") ?? query.get("error"));
  const answer = await fetch(`https://${left.sso.domain}/oauth2/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: left.sso.client_id,
      redirect_uri: here(),
      code: query.get("code"),
      code_verifier: left.verifier,
    }),
  });
  const token = await answer.json();
  if (!answer.ok) throw new Error(t("signIn.ssoRefused", { reason: token.error ?? answer.status }));
  // (Until the service has said what time it is, this computer's clock is all there is.)
  const expiresAt = () => new Date(now() + token.expires_in * 1000).toISOString();
  const begun = { token: token.access_token, expiresAt: expiresAt(), name: "", role: "viewer" };
  setSession(begun);
  try {
    const { name, role } = await get("whoami");
    setSession({ ...begun, expiresAt: expiresAt(), name, role });
  } catch (problem) {
    setSession(null);
    throw problem;
  }
}

/** Keeps what has to outlast the way to the pool's page; raises where a browser keeps nothing. */
function kept(act) {
  try {
    return act();
  } catch {
    throw new Error(t("signIn.ssoNothingKept"));
  }
}

function here() {
  return location.origin + location.pathname;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(data) {
  return btoa(String.fromCharCode(...data)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
