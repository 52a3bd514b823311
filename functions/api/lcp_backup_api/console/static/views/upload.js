// An upload: two files, looked at before they travel, sent in parts, and made a backup.

import { announce, button, fill, h, newId } from "../dom.js";
import { bytes, duration } from "../format.js";
import { outcomeOf, problemBox } from "../live.js";
import { badge, heading } from "../pieces.js";
import { go } from "../router.js";
import { isAdmin } from "../session.js";
import { t } from "../texts.js";
import { checked, isSame } from "../upload/check.js";
import { currentUpload, forget, giveUp, leftUpload, onUpload, pause, resume, sendFiles } from "../upload/send.js";

const HALVES = ["database", "volume"];

export function uploadView(context) {
  const place = h("div", {});
  const show = () => {
    const upload = currentUpload();
    if (upload?.state === "done") {
      announce(t("upload.done"));
      go("runs", upload.id);
    } else if (upload && place.dataset.upload === upload.id) {
      place.update(upload);
    } else {
      fill(place, upload ? sending(place, upload) : chooser());
    }
  };
  if (isAdmin()) {
    onUpload(show, context.signal);
    if (currentUpload()?.state === "done") forget();
    show();
  } else {
    fill(place, h("p", { class: "notice" }, t("role.why")));
  }
  return h("div", {}, heading(t("upload.title")), h("p", { class: "quiet" }, t("upload.about")), place);
}

function chooser() {
  const files = {};
  const zones = Object.fromEntries(HALVES.map((half) => [half, zone(half, (chosen) => take(chosen, half))]));
  let left = leftUpload();
  const note = h("div", {}, left && leftNote(left));
  const anew = h("p", { class: "quiet", role: "status" });
  const { told: failed, act } = outcomeOf(async () => {
    try {
      await sendFiles(files, goesOn() ? left.id : null);
    } finally {
      left = leftUpload();
      if (!left) fill(note);
      update();
    }
  });
  const start = h("button", { type: "button", class: "primary", disabled: true, on: { click: act } }, t("upload.start"));
  const goesOn = () => left && HALVES.every((half) => files[half] && isSame(files[half], left[half]));
  const update = () => {
    start.disabled = !HALVES.every((half) => files[half]);
    start.textContent = t(goesOn() ? "upload.goOn" : "upload.start");
    fill(anew, left && !start.disabled && !goesOn() && t("upload.anew"));
  };
  const take = async (chosen, wanted) => {
    for (const file of chosen) {
      const found = await checked(file);
      // Of two that are dropped at once, each goes where it belongs.
      const half = chosen.length > 1 && found.half ? found.half : wanted;
      const isRight = found.half === half;
      if (isRight) files[half] = file;
      else delete files[half];
      zones[half].tell(file, found, isRight);
    }
    update();
  };
  return [
    note,
    h("div", { class: "cards" }, HALVES.map((half) => zones[half].element)),
    anew,
    h("div", { class: "actions zone-actions" }, start),
    failed,
  ];
}

function leftNote(left) {
  const { told: failed, act } = outcomeOf(giveUp);
  return h(
    "div",
    { class: "notice warn" },
    h("p", {}, h("strong", {}, t("upload.left"))),
    h("p", {}, t("upload.leftAbout", { database: left.database.name, volume: left.volume.name })),
    button(t("upload.giveUp"), act),
    failed,
  );
}

function zone(half, take) {
  const input = h("input", { type: "file", class: "unseen", id: newId("file") });
  input.addEventListener("change", () => take([...input.files]));
  // The same file is chosen again when it was corrected: without this a browser does not tell.
  input.addEventListener("click", () => {
    input.value = "";
  });
  const said = h("div", { role: "status" }, h("p", { class: "quiet" }, t(`upload.wants.${half}`)));
  const element = h(
    "section",
    { class: "card zone" },
    h("h2", {}, t(`half.${half}`)),
    said,
    input,
    h("label", { for: input.id, class: "button" }, t("upload.choose"), h("span", { class: "unseen" }, `: ${t(`half.${half}`)}`)),
    h("p", { class: "quiet" }, t("upload.drop")),
  );
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  const tell = (file, { half: is, found }, isRight) =>
    fill(
      said,
      h("p", {}, h("strong", {}, file.name), h("small", {}, bytes(file.size))),
      h("p", {}, badge(isRight ? "good" : "bad", t(isRight ? "upload.right" : "upload.wrong")), " ", t(`upload.found.${found}`)),
      !isRight && is && h("p", {}, t(`upload.isOther.${is}`)),
      !isRight && !is && h("p", {}, t(`upload.wayOut.${half}`)),
    );
  return { element, tell };
}

function sending(place, upload) {
  place.dataset.upload = upload.id;
  const bars = Object.fromEntries(HALVES.map((half) => [half, bar(half, upload.files[half])]));
  const state = h("p", { class: "large" });
  const figures = h("p", { class: "quiet" });
  const problem = h("div", {});
  const act = h("button", { type: "button", on: { click: () => (currentUpload()?.state === "sending" ? pause() : resume()) } });
  const { told, act: leave } = outcomeOf(giveUp);
  place.update = (now) => {
    for (const half of HALVES) bars[half].update(now.sent[half] ?? 0);
    if (place.dataset.state !== now.state) {
      place.dataset.state = now.state;
      state.textContent = t(`upload.state.${now.state}`);
      announce(state.textContent);
      act.textContent = t(now.state === "sending" ? "upload.pause" : "upload.resume");
      act.disabled = now.state === "completing";
      fill(problem, now.problem && problemBox(now.problem));
    }
    const rest = HALVES.reduce((sum, half) => sum + now.files[half].size - (now.sent[half] ?? 0), 0);
    const isMoving = now.state === "sending" && now.rate > 0;
    figures.textContent = isMoving ? `${t("run.rate", { rate: bytes(now.rate) })} · ${t("run.left", { time: duration(rest / now.rate) })}` : "";
  };
  delete place.dataset.state;
  place.update(upload);
  return h(
    "section",
    { class: "working" },
    state,
    HALVES.map((half) => bars[half].element),
    figures,
    problem,
    h("div", { class: "actions" }, act, button(t("upload.giveUp"), leave, { kind: "link" })),
    told,
    h("p", { class: "quiet" }, t("upload.stay")),
  );
}

function bar(half, file) {
  const said = h("span", {});
  const progress = h("progress", { max: file.size, value: 0, "aria-label": t(`half.${half}`) });
  const element = h("div", { class: "progress" }, h("p", {}, h("strong", {}, t(`half.${half}`)), ` ${file.name} · `, said), progress);
  const update = (sent) => {
    progress.value = sent;
    said.textContent = t("run.of", { done: bytes(sent), total: bytes(file.size) });
  };
  return { element, update };
}
