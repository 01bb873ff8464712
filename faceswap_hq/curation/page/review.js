(() => {
  const $ = (id) => document.getElementById(id);
  const { format, version, criteria, fakes } = JSON.parse($("data").textContent);
  const rows = new Map([...document.querySelectorAll("#fakes li")].map((row) => [row.dataset.id, row]));
  const number = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(3))).replace("-", "−"));

  // ------------------------------------------------------------------------------------------------ what is decided
  // One entry a fake, by the hash of its file: another data set, or the fake made anew, never meets it.
  const key = (fake) => `faceswap-hq review ${fake.sha256}`;
  const none = { verdict: "automatic", note: "", time: "" };
  let keeps = true, unsaved = false;

  function stored(fake) {
    try {
      const found = JSON.parse(localStorage.getItem(key(fake)));
      const valid = found && ["accept", "reject", "automatic"].includes(found.verdict);
      return valid && typeof found.note === "string" && typeof found.time === "string" ? found : null;
    } catch { return null; }
  }

  for (const fake of fakes) {
    const applied = fake.review || none, own = stored(fake);
    fake.choice = own && own.time >= applied.time ? own : { ...applied };
  }

  function keep(fake) {
    try { localStorage.setItem(key(fake), JSON.stringify(fake.choice)); } catch { keeps = false; }
    unsaved = true;
    if (!keeps) warn("This browser keeps nothing for this page: export before you close it.");
  }
  try { localStorage.setItem("faceswap-hq review", ""); localStorage.removeItem("faceswap-hq review"); } catch { keeps = false; }
  addEventListener("beforeunload", (event) => { if (unsaved && !keeps) event.preventDefault(); });

  const judged = (fake) => fake.choice.verdict !== "automatic";
  const accepted = (fake) => (judged(fake) ? fake.choice.verdict === "accept" : fake.automatic.accepted);

  function warn(text) { $("care").textContent = text; $("care").hidden = !text; }

  // ----------------------------------------------------------------------------------------------------- the player
  let now = fakes[0], listed = fakes; // the fake in hand; those shown, in their order
  const stage = document.querySelector(".stage");
  const views = player($("fake"), $("target"), $("source"), $("difference"), (frame) => {
    $("seek").value = frame;
    $("frame").textContent = `${frame + 1} / ${now.frames}`;
  });
  $("fake").addEventListener("loadedmetadata", () => {
    const { videoWidth: width, videoHeight: height } = $("fake");
    if (!width || !height) return;
    stage.style.setProperty("--ratio", (width / height).toFixed(4));
    document.querySelector(".views").classList.toggle("upright", width < 0.8 * height);
    document.querySelector(".views").classList.toggle("wide", width > 1.2 * height);
  });
  for (const id of ["fake", "target"]) {
    $(id).addEventListener("error", () => {
      if (!$(id).getAttribute("src")) return;
      $("trouble").textContent = `${decodeURI($(id).getAttribute("src"))} cannot be played. Keep this page in its folder, beside fakes/ and reals/.`;
      $("trouble").hidden = false;
    });
  }

  function cycle(id, values, write, set) {
    let place = 0;
    const show = () => { $(id).textContent = write(values[place]); set(values[place]); };
    $(id).addEventListener("click", () => { place = (place + 1) % values.length; show(); });
    show();
  }
  const fraction = { 0.5: "½", 0.25: "¼", 0.1: "⅒" };
  cycle("speed", [1, 0.5, 0.25, 0.1], (value) => `${fraction[value] || value}×`, (value) => views.speed(value));
  cycle("bright", [4, 16, 1], (value) => `diff ${value}×`, (value) => {
    stage.style.setProperty("--gain", value);
    $("gain").textContent = value === 1 ? "as it is" : `brightened ${value}×`;
  });
  cycle("zoom", [1, 2, 4], (value) => `zoom ${value}×`, (value) => stage.style.setProperty("--zoom", value));

  for (const view of document.querySelectorAll(".view")) {
    if (view.firstElementChild === $("source")) continue;
    view.addEventListener("click", (event) => {
      const box = view.getBoundingClientRect(), style = stage.style;
      const zoom = Number(style.getPropertyValue("--zoom"));
      for (const [axis, place, size] of [["--x", event.clientX - box.x, box.width], ["--y", event.clientY - box.y, box.height]]) {
        const origin = (parseFloat(style.getPropertyValue(axis)) || 50) / 100;
        const point = origin + (place / size - origin) / zoom; // of the picture, under the pointer
        style.setProperty(axis, `${(100 * point).toFixed(2)}%`);
      }
      if (zoom === 1) $("zoom").click();
    });
  }

  function play(on) {
    const playing = views.play(on);
    $("play").textContent = playing ? "Pause" : "Play";
  }
  const step = (count) => { views.step(count); $("play").textContent = "Play"; };
  function sound() {
    $("fake").muted = !$("fake").muted;
    $("sound").setAttribute("aria-pressed", String(!$("fake").muted));
  }

  // --------------------------------------------------------------------------------------------------- what is shown
  function cell(tag, text, name = "") {
    const node = document.createElement(tag);
    node.textContent = text;
    node.className = name;
    return node;
  }

  function scores() {
    const lines = criteria.filter(({ name }) => name in now.values).map(({ name, words, min = null, max = null }) => {
      const value = now.values[name], line = document.createElement("tr");
      const one = min === null ? `≤ ${number(max)}` : `≥ ${number(min)}`;
      const bounds = min === null && max === null ? "not tested" : min === null || max === null ? one : `${number(min)} – ${number(max)}`;
      const failed = value !== null && ((min !== null && value < min) || (max !== null && value > max));
      const head = cell("th", words);
      head.scope = "row";
      line.className = failed ? "failed" : "";
      line.append(head, cell("td", value === null ? "not measured" : number(value) + (failed ? " ✗" : ""), value === null ? "n none" : "n"),
        cell("td", bounds, "n"));
      return line;
    });
    $("scores").replaceChildren(...lines);
  }

  function mark(fake) {
    const yes = accepted(fake), row = rows.get(fake.id);
    const said = `${yes ? "accepted" : "rejected"}${judged(fake) ? " by you" : ""}${fake.choice.note ? ", note" : ""}`;
    row.querySelector(".said").textContent = said;
    row.querySelector(".mark").textContent = yes ? "✓" : "✗";
    row.querySelector(".mark").className = `mark ${yes ? "yes" : "no"}`;
    row.firstElementChild.setAttribute("aria-current", String(fake === now));
  }

  function standing() {
    const yes = accepted(now), { verdict } = now.choice;
    $("standing").textContent = (yes ? "accepted" : "rejected") + (judged(now) ? " by you" : " by thresholds");
    $("standing").className = `tag ${yes ? "yes" : "no"}`;
    $("automatic").textContent = `score ${number(now.score)}, rank ${now.rank} of ${fakes.length}, round ${now.round}`
      + (judged(now) && yes !== now.automatic.accepted ? `; the thresholds ${yes ? "reject" : "accept"} it` : "");
    for (const [id, value] of [["accept", "accept"], ["reject", "reject"], ["undo", "automatic"]]) {
      $(id).setAttribute("aria-pressed", String(verdict === value));
    }
    const yours = fakes.filter(judged), kept = yours.filter(accepted).length;
    $("progress").textContent = `${yours.length} of ${fakes.length} judged by you: ${kept} accepted, ${yours.length - kept} rejected`;
    $("export").disabled = !answer().length;
    mark(now);
  }

  function open(fake) {
    const before = now;
    now = fake;
    mark(before);
    $("trouble").hidden = true;
    $("name").textContent = `${fake.source} onto ${fake.target}`;
    $("name").title = fake.id;
    $("who-fake").textContent = `${fake.source} onto ${fake.target}`;
    $("who-target").textContent = fake.target;
    $("who-source").textContent = fake.source;
    $("source-box").hidden = !fake.look;
    $("seek").max = fake.frames - 1;
    $("note").value = fake.choice.note;
    $("reasons").replaceChildren(...fake.automatic.reasons.map((text) => cell("li", text, "no")), ...fake.doubts.map((text) => cell("li", `known beforehand: ${text}`, "small")));
    scores();
    standing();
    views.open(fake);
    const list = $("fakes"), { offsetTop: top, offsetHeight: high } = rows.get(fake.id); // the list scrolls, not the page
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + high > list.scrollTop + list.clientHeight) list.scrollTop = top + high - list.clientHeight;
  }

  function decide(verdict) {
    now.choice = { ...now.choice, verdict, time: new Date().toISOString() };
    keep(now);
    standing();
  }

  function move(count, wanted = () => true) {
    const size = listed.length, place = listed.indexOf(now);
    for (let i = 1; i <= size; i++) {
      const next = listed[(((place < 0 && count < 0 ? 0 : place) + i * count) % size + size) % size];
      if (wanted(next)) return next === now ? undefined : open(next);
    }
  }

  // ------------------------------------------------------------------------------------------------ sort and filter
  const collator = new Intl.Collator(undefined, { numeric: true });
  let falling = false;

  function arrange() {
    const by = $("sort").value, text = $("text").value.trim().toLowerCase(), who = $("person").value, show = $("show").value;
    const value = (fake) => (by === "rank" || by === "score" || by === "id" ? fake[by] : fake.values[by] ?? null);
    const fits = (fake) =>
      (!who || fake.source === who || fake.target === who) &&
      (!show || { accepted: accepted(fake), rejected: !accepted(fake), open: !judged(fake), judged: judged(fake) }[show]) &&
      [fake.id, `${fake.source} onto ${fake.target}`, fake.choice.note, ...fake.automatic.reasons].join("\n").toLowerCase().includes(text);
    const sorted = [...fakes].sort((a, b) => {
      const [x, y] = [value(a), value(b)], sign = falling ? -1 : 1;
      if (x === null || y === null) return (x === null) - (y === null); // not measured: last either way
      return sign * (by === "id" ? collator.compare(x, y) : x - y) || a.rank - b.rank;
    });
    listed = sorted.filter(fits);
    for (const fake of sorted) {
      const row = rows.get(fake.id);
      row.hidden = !fits(fake);
      row.querySelector(".number").textContent = number(by === "rank" || by === "id" ? fake.score : value(fake));
      mark(fake);
    }
    $("fakes").append(...sorted.map((fake) => rows.get(fake.id)));
    $("shown").textContent = `${listed.length} of ${fakes.length} shown`;
    $("order").textContent = falling ? "↓ high first" : "↑ low first";
    $("order").setAttribute("aria-pressed", String(falling));
  }

  // --------------------------------------------------------------------------------------------------------- export
  const answer = () => fakes
    .filter((fake) => judged(fake) || fake.choice.note.trim() || fake.review) // what was applied can be taken back
    .map(({ id, sha256, choice: { verdict, note, time } }) => ({ id, sha256, verdict, note: note.trim(), time }));

  function save() {
    const list = answer();
    if (!list.length) return;
    const text = JSON.stringify({ format, version, fakes: list }, null, 2) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "review.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    warn(`review.json holds ${list.length} fakes. Next: faceswap-hq curate --apply review.json -o DIR, DIR being this page's folder.`);
  }

  // ------------------------------------------------------------------------------------------------ keys and buttons
  const press = (id) => () => $(id).click();
  const keys = {
    a: press("accept"), r: press("reject"), u: press("undo"), n: press("next"), x: press("export"),
    s: press("speed"), b: press("bright"), z: press("zoom"), m: press("sound"), " ": press("play"),
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    e: () => $("note").focus(), "/": () => $("text").focus(),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event, tag = target.tagName;
    if (event.key === "Escape" && /TEXTAREA|INPUT|SELECT/.test(tag)) return target.blur();
    if (/TEXTAREA|SELECT/.test(tag) || (tag === "INPUT" && target.type !== "range")) return;
    if (event.key === " " && tag === "BUTTON") return; // the button itself
    const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const action = arrow ? () => step(arrow * (event.shiftKey ? 10 : 1)) : keys[event.key.length > 1 ? event.key : event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });

  addEventListener("click", (event) => { // a button that was clicked shall not keep the space bar
    if (event.detail) event.target.closest("button")?.blur();
  });
  $("play").addEventListener("click", () => play());
  $("back").addEventListener("click", () => step(-1));
  $("on").addEventListener("click", () => step(1));
  $("seek").addEventListener("input", () => views.seek(Number($("seek").value)));
  $("sound").addEventListener("click", sound);
  $("accept").addEventListener("click", () => decide("accept"));
  $("reject").addEventListener("click", () => decide("reject"));
  $("undo").addEventListener("click", () => decide("automatic"));
  $("next").addEventListener("click", () => move(1, (fake) => !judged(fake)));
  $("export").addEventListener("click", save);
  $("note").addEventListener("input", () => {
    now.choice = { ...now.choice, note: $("note").value, time: new Date().toISOString() };
    keep(now);
    standing();
  });
  $("order").addEventListener("click", () => { falling = !falling; arrange(); });
  for (const id of ["sort", "person", "show"]) $(id).addEventListener("change", arrange);
  $("text").addEventListener("input", arrange);
  for (const fake of fakes) {
    rows.get(fake.id).firstElementChild.addEventListener("click", (event) => {
      event.preventDefault();
      open(fake);
      if (stage.getBoundingClientRect().bottom < 0.3 * innerHeight) stage.scrollIntoView();
    });
  }

  if (!keeps) warn("This browser keeps nothing for this page: export before you close it.");
  if (fakes.length) { arrange(); open(now); }
})();
