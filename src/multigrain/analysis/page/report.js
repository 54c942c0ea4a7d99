"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const utterances = data.utterances;
  const media = document.getElementById("media");
  const timeline = document.getElementById("timeline");
  const evidence = document.getElementById("evidence");
  const follow = document.getElementById("follow");
  const TITLES = { text: "text", audio: "voice", vision: "face" };
  const VIRIDIS = ["440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725"].map((code) =>
    [0, 2, 4].map((place) => parseInt(code.slice(place, place + 2), 16)));
  const isTimed = utterances.every((one) => one.start !== null && one.end !== null);
  const total = isTimed ? Math.max(data.duration || 0, ...utterances.map((one) => one.end)) : utterances.length;
  const ranges = new Map(); // of each strip over all utterances, so that they can be compared
  utterances.flatMap((one) => one.strips).forEach((strip) => {
    const known = strip.values.filter((value) => value !== null);
    const [low, high] = ranges.get(strip.name) || [Infinity, -Infinity];
    ranges.set(strip.name, [known.reduce((a, b) => Math.min(a, b), low), known.reduce((a, b) => Math.max(a, b), high)]);
  });
  let chosen = -1;
  let heads = [];

  // Elements and numbers ---------------------------------------------------------------------------------------------

  function make(name, attributes, ...children) {
    const isDrawing = ["svg", "rect", "path", "line"].includes(name);
    const element = isDrawing ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "style") Object.assign(element.style, value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }
  const percent = (share) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(3)}%`;
  const signed = (value) => (value === null ? "n/a" : `${value <= -0.005 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`);
  const plain = (value) => `${value <= -0.005 ? "\u2212" : ""}${Math.abs(value).toFixed(2)}`;
  const shown = (value) => (data.isEmotions ? `${(100 * value).toFixed(0)} %` : signed(value));
  const axisNumber = (value) => (data.isEmotions ? `${100 * value} %` : String(value).replace("-", "\u2212"));
  const side = (value) => (value < 0 ? "down" : "up");
  const clock = (seconds) => {
    const tenths = Math.round(10 * seconds);
    return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
  };
  const share = (score) => (score - data.low) / (data.high - data.low);
  const tint = (value, largest) => {
    const strength = largest > 0 ? Math.min(1, Math.abs(value) / largest) : 0;
    return `rgb(var(--${side(value)}) / ${(0.55 * strength).toFixed(3)})`;
  };
  const viridis = (level) => {
    const place = (level / 255) * (VIRIDIS.length - 1);
    const first = Math.min(VIRIDIS.length - 2, Math.floor(place));
    const mix = VIRIDIS[first].map((channel, index) => Math.round(channel + (place - first) * (VIRIDIS[first + 1][index] - channel)));
    return `rgb(${mix.join(",")})`;
  };
  const spanWords = (modality, span) =>
    span[2] === null
      ? `step${span[1] - span[0] > 1 ? `s ${span[0]} to ${span[1] - 1}` : ` ${span[0]}`} of the ${TITLES[modality]}`
      : `${TITLES[modality]} at ${clock(span[2])} to ${clock(span[3])}`;

  // Timeline ---------------------------------------------------------------------------------------------------------

  function drawTimeline() {
    const zero = share(data.neutral);
    const axis = [data.high, data.neutral, data.low];
    axis.forEach((score, place) => {
      const style = place === 2 ? { bottom: ".25rem" } : { top: place === 0 ? ".25rem" : `calc(${percent(1 - share(score))} + .2rem)` };
      timeline.append(make("span", { class: "scale", style, "aria-hidden": "true" }, axisNumber(score)));
    });
    timeline.append(make("span", { class: "zero", style: { top: percent(1 - zero) } }));
    utterances.forEach((one, index) => {
      const score = one.scores[one.explained];
      const at = share(score);
      const left = isTimed ? one.start / total : index / total;
      const width = isTimed ? (one.end - one.start) / total : 1 / total;
      const inner = isBare(one) ? [] : [make("span", { class: `fill ${side(score - data.neutral)}`, style: {
        top: percent(1 - Math.max(at, zero)), height: percent(Math.abs(at - zero)) } })];
      if (one.interval) {
        inner.push(make("span", { class: "range", style: {
          top: percent(1 - share(one.interval[1])), height: percent(share(one.interval[1]) - share(one.interval[0])) } }));
      }
      const label = `${isTimed ? clock(one.start) : `utterance ${index + 1}`}, ${isBare(one) ? "no score" : `${named(one)} ${shown(score)}`}: ${one.words.map((word) => word[0]).join(" ")}`;
      const bar = make("button", { type: "button", "data-index": index, tabindex: -1, "aria-label": label, title: label,
        style: { left: percent(left), width: percent(width) } }, ...inner);
      bar.addEventListener("click", (event) => {
        const box = bar.getBoundingClientRect();
        const within = event.detail ? (event.clientX - box.left) / box.width : 0;
        choose(index);
        seek(isTimed ? one.start + within * (one.end - one.start) : null);
      });
      timeline.append(bar);
    });
    timeline.addEventListener("click", (event) => {
      if (event.target === timeline && isTimed) seek((event.offsetX / timeline.clientWidth) * total);
    });
    timeline.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: utterances.length - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      step(moves[event.key] - chosen, true);
    });
    if (isTimed) {
      const head = make("div", { class: "playhead", hidden: "" });
      timeline.append(head);
      drawTicks();
    }
  }

  function drawTicks() {
    const ticks = document.getElementById("ticks");
    const most = timeline.clientWidth > 600 ? 8 : 4;
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].find((seconds) => total / seconds <= most) || total / most;
    for (let seconds = 0; seconds <= total; seconds += step) {
      const shift = seconds === 0 ? "none" : seconds > 0.97 * total ? "translateX(-100%)" : "translateX(-50%)";
      ticks.append(make("span", { style: { left: percent(seconds / total), transform: shift } }, clock(seconds).replace(/\.\d$/, "")));
    }
  }

  const isBare = (one) => one.modalities.length === 0; // the model was given nothing
  const named = (one) => (data.isEmotions ? data.names[one.explained] : "sentiment");

  function step(by, moveFocus) {
    const index = Math.min(utterances.length - 1, Math.max(0, chosen + by));
    choose(index);
    seek(isTimed ? utterances[index].start : null);
    if (moveFocus) timeline.querySelector(`button[data-index="${index}"]`).focus();
  }

  function seek(seconds) {
    if (media && seconds !== null) media.currentTime = Math.min(seconds + 0.001, media.duration || seconds + 0.001);
    if (seconds !== null) showTime(seconds);
  }

  function showTime(seconds) {
    const head = timeline.querySelector(".playhead");
    if (head) {
      head.hidden = false;
      head.style.left = `calc(${percent(seconds / total)} - 1px)`;
    }
    const one = utterances[chosen];
    heads.forEach((line) => {
      const at = (seconds - one.start) / (one.end - one.start);
      line.hidden = at < 0 || at > 1;
      line.style.left = percent(at);
    });
  }

  function followPlayback() {
    const seconds = media.currentTime;
    const index = utterances.findIndex((one) => seconds >= one.start && seconds < one.end);
    if (index >= 0 && index !== chosen && follow.checked && !media.paused) choose(index);
    showTime(seconds);
  }

  // The chosen utterance ---------------------------------------------------------------------------------------------

  function choose(index) {
    if (index === chosen) return;
    chosen = index;
    timeline.querySelectorAll("button").forEach((bar) => {
      const isChosen = Number(bar.dataset.index) === index;
      bar.setAttribute("aria-current", isChosen);
      bar.tabIndex = isChosen ? 0 : -1;
    });
    document.querySelectorAll(".transcript li").forEach((row, place) => {
      row.classList.toggle("chosen", place === index);
      row.querySelector("button").setAttribute("aria-pressed", place === index);
    });
    const one = utterances[index];
    const place = isTimed ? `${clock(one.start)} to ${clock(one.end)}` : one.id;
    document.getElementById("which").textContent = `Utterance ${index + 1} of ${utterances.length}, ${place}${one.speaker ? `, ${one.speaker}` : ""}`;
    heads = [];
    const hasMoments = one.moments.length + one.strips.length + one.attention.length > 0;
    evidence.replaceChildren(drawWords(one), make("div", { class: "columns" }, drawScore(one), drawModalities(one)),
      ...(hasMoments ? [drawRows(one), ...(one.links.length || data.hasAttention ? [drawLinks(one)] : [])] : [make("p", { class: "nothing" }, "Neither voice nor face had a part in this score.")]));
    if (media) showTime(media.currentTime);
  }

  function drawWords(one) {
    const largest = Math.max(...one.words.map((word) => Math.abs(word[1] || 0)), 0);
    const strongest = [...one.words].filter((word) => word[1] !== null).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 3);
    if (!one.words.length) return make("p", { class: "words nothing" }, "No words are known here.");
    const line = make("p", { class: "words" });
    one.words.forEach((word) => {
      const isKnown = word[1] !== null;
      const element = make("span", { class: `word ${isKnown ? side(word[1]) : "unread"}`, title: isKnown ? `${word[0]}: ${signed(word[1])}` : "not read by this model" });
      element.append(word[0]);
      if (isKnown) {
        element.style.background = tint(word[1], largest);
        element.style.borderBottomColor = Math.abs(word[1]) > 0.15 * largest && largest > 0 ? `var(--bar-${side(word[1])})` : "transparent";
      }
      if (strongest.includes(word) && Math.abs(word[1]) > 0.15 * largest) element.append(make("sub", {}, signed(word[1])));
      line.append(element, " ");
    });
    return line;
  }

  function drawScore(one) {
    if (isBare(one)) return make("div", {}, make("h3", {}, "Score"), make("p", { class: "note" }, "None: there is nothing here that the model reads."));
    const score = one.scores[one.explained];
    const gauge = make("div", { class: "gauge" }, make("span", { class: "axis" }));
    if (one.interval) {
      gauge.append(make("span", { class: "range", style: { left: percent(share(one.interval[0])), width: percent(share(one.interval[1]) - share(one.interval[0])) } }));
    }
    if (one.label !== null) gauge.append(make("span", { class: "label", style: { left: percent(share(one.label)) } }));
    gauge.append(make("span", { class: `dot ${side(score - data.neutral)}`, style: { left: percent(share(score)) } }));
    for (const tick of [data.low, data.neutral, data.high]) {
      gauge.append(make("span", { class: "tick", style: { left: percent(share(tick)) } }, axisNumber(tick)));
    }
    const words = [`${named(one)} ${shown(score)}`];
    if (one.interval) words.push(`${Math.round(100 * one.interval[2])} % interval ${plain(one.interval[0])} to ${plain(one.interval[1])} (grey)`);
    if (one.label !== null) words.push(`label ${data.isEmotions ? one.label : signed(one.label)} (black line)`);
    const parts = [make("h3", {}, "Score"), gauge, make("p", { class: "note" }, `${words.join("; ")}.`)];
    if (data.isEmotions) parts.push(make("p", { class: "note" }, data.names.map((name, place) => `${name} ${shown(one.scores[place])}`).join(", ")));
    return make("div", {}, ...parts);
  }

  function drawModalities(one) {
    const largest = Math.max(...one.modalities.map((part) => Math.abs(part[1])), Math.abs(one.baseline), 1e-9);
    const bars = make("div", { class: "bars" });
    const add = (name, value, title) => {
      const half = 50 * (Math.abs(value) / largest);
      const bar = make("i", { class: side(value), style: value < 0 ? { right: "50%", width: `${half}%` } : { left: "50%", width: `${half}%` } });
      bars.append(make("span", { title }, name), make("span", { class: "track", title }, bar), make("b", {}, signed(value)));
    };
    add("with nothing", one.baseline, "the score when the model is given no modality at all");
    one.modalities.forEach((part) =>
      add(TITLES[part[0]], part[1], `alone ${signed(part[2])}; all without it ${signed(part[3])}`));
    bars.append(make("span", { class: "sum" }, "together"), make("span", { class: "sum" }, ""), make("b", { class: "sum" }, signed(one.scores[one.explained] ?? 0)));
    if (isBare(one)) bars.replaceChildren();
    const missing = Object.entries(one.absent).map(([name, reason]) => `${TITLES[name]}: ${reason}`);
    return make("div", {}, make("h3", {}, "What each modality did"), bars,
      missing.length ? make("p", { class: "note" }, `Not there: ${missing.join("; ")}.`) : null);
  }

  // Voice and face over the utterance --------------------------------------------------------------------------------

  function drawRows(one) {
    const rows = make("div", { class: "rows" });
    const lengths = {};
    [...one.moments.map((moment) => [moment[0], moment[1]]), ...one.attention.flatMap((map) => map.spans.map((span) => [map.modality, span]))]
      .forEach(([modality, span]) => { lengths[modality] = Math.max(lengths[modality] || 0, span[1]); });
    const spread = (modality, span) =>
      (span[2] !== null && isTimed
        ? [(span[2] - one.start) / (one.end - one.start), (span[3] - one.start) / (one.end - one.start)]
        : [span[0] / lengths[modality], span[1] / lengths[modality]]).map((place) => Math.min(1, Math.max(0, place)));
    const addRow = (name, lane) => {
      rows.append(typeof name === "string" ? make("div", { class: "name" }, name) : name, lane);
      if (isTimed) {
        const line = make("span", { class: "now", hidden: "" });
        lane.append(line);
        heads.push(line);
      }
    };
    if (isTimed && one.words.some((word) => word[2] !== null)) addRow("said", drawSaid(one));
    for (const modality of ["audio", "vision"]) {
      const moments = one.moments.filter((moment) => moment[0] === modality);
      const strips = one.strips.filter((strip) => strip.modality === modality);
      const map = one.attention.find((entry) => entry.modality === modality);
      if (!moments.length && !strips.length && !map) continue;
      if (rows.childElementCount) rows.append(make("div", { class: "gap" }));
      if (moments.length) addRow(`${TITLES[modality]} did`, drawMoments(one, moments, modality, spread));
      strips.forEach((strip) => addRow(strip.name, drawStrip(one, strip)));
      if (map) addRow(mapWords(one), drawMap(one, map, spread));
    }
    const parts = [make("h3", {}, "Voice and face, moment by moment"), rows];
    const shares = [["somebody speaks", one.voiceShare], ["a face is seen", one.faceShare]].filter((entry) => entry[1] !== null)
      .map(([what, part]) => `${what} in ${(100 * part).toFixed(0)} %`);
    if (one.moments.length) {
      parts.push(make("p", { class: "note" }, "A moment: the score less the score without it, in colours of their own; where many moments say the same, each alone does little. "
        + (one.strips.length ? "Curves have one scale over all utterances; the thin line is the speaker's usual face." : "")));
    }
    if (shares.length) parts.push(make("p", { class: "note" }, `Of this utterance's time, ${shares.join(", and ")}.`));
    if (one.attention.length) {
      const largest = Math.max(...one.attention.map((map) => map.largest));
      parts.push(make("p", { class: "key" }, make("span", {}, "Attention of each word: 0", make("i", { class: "ramp" }), `${(100 * largest).toFixed(0)} % of the word's attention`),
        make("span", {}, "A white frame marks a link listed below.")));
    } else if (!data.hasAttention) {
      parts.push(make("p", { class: "note" }, one.links.length
        ? "There is no attention map: in this model no word attends the voice or the face."
        : "There is neither an attention map nor a link: this model reads words, voice and face one by one."));
    } else {
      parts.push(make("p", { class: "note" }, "There is no attention map: this utterance lacks words, or both voice and face."));
    }
    return make("div", {}, ...parts);
  }

  function drawSaid(one) {
    const largest = Math.max(...one.words.map((word) => Math.abs(word[1] || 0)), 0);
    const lane = make("div", { class: "lane", style: { height: "1.5rem" } });
    const place = (seconds) => Math.min(1, Math.max(0, (seconds - one.start) / (one.end - one.start)));
    one.words.filter((word) => word[2] !== null).forEach((word) => {
      const left = place(word[2]);
      const width = place(word[3]) - left;
      lane.append(make("span", { class: "said", title: `${word[0]} ${signed(word[1])}`,
        style: { left: percent(left), width: percent(width), background: word[1] === null ? "" : tint(word[1], largest) } }, word[0]));
    });
    return lane;
  }

  function drawMoments(one, moments, modality, spread) {
    const largest = Math.max(...one.moments.map((moment) => Math.abs(moment[2])), 1e-9);
    const lane = make("div", { class: "lane moments" });
    moments.forEach((moment) => {
      const [left, right] = spread(modality, moment[1]);
      const isStrong = Math.abs(moment[2]) >= 0.4 * largest && Math.abs(moment[2]) >= 0.005;
      lane.append(make("i", { title: `${spanWords(modality, moment[1])}: ${signed(moment[2])}`,
        style: { left: percent(left), width: percent(right - left), background: `linear-gradient(${tint(moment[2], largest)} 0 0), var(--band)` } },
        isStrong ? signed(moment[2]) : ""));
    });
    const strongest = [...moments].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0];
    lane.setAttribute("role", "img");
    lane.setAttribute("aria-label", `What each moment of the ${TITLES[modality]} did; most: ${spanWords(modality, strongest[1])}, ${signed(strongest[2])}`);
    return lane;
  }

  function drawStrip(one, strip) {
    const known = strip.values.filter((value) => value !== null);
    const [low, high] = ranges.get(strip.name);
    const height = (value) => 36 - (32 * (value - low)) / (high - low || 1);
    let path = "", isDown = false;
    strip.values.forEach((value, place) => {
      const x = (1000 * (strip.times[place] - one.start)) / (one.end - one.start);
      if (value === null || x < 0 || x > 1000) { isDown = false; return; }
      path += `${isDown ? "L" : "M"}${x.toFixed(1)},${height(value).toFixed(1)}${isDown ? "" : "l.1,0"}`;
      isDown = true;
    });
    const label = known.length ? `${strip.name}: ${plain(Math.min(...known))} to ${plain(Math.max(...known))} ${strip.unit} here, ${plain(low)} to ${plain(high)} in all` : `${strip.name}: nothing was measured`;
    const drawing = make("svg", { viewBox: "0 0 1000 40", preserveAspectRatio: "none", role: "img", "aria-label": label, style: { height: "2.4rem" } },
      strip.modality === "vision" && low < 0 && high > 0 ? make("line", { class: "usual", x1: 0, x2: 1000, y1: height(0).toFixed(1), y2: height(0).toFixed(1) }) : null,
      make("path", { d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke", "stroke-linecap": "round", "stroke-linejoin": "round" }));
    return make("div", { class: "lane", title: label }, drawing);
  }

  function mapWords(one) {
    const largest = Math.max(...one.words.map((word) => Math.abs(word[1] || 0)), 0);
    const list = make("div", { class: "map-words", "aria-hidden": "true" });
    one.words.forEach((word) => list.append(make("div", { class: largest && Math.abs(word[1] || 0) > 0.4 * largest ? "strong" : "", title: word[0] }, word[0])));
    return list;
  }

  function drawMap(one, map, spread) {
    const count = map.levels.length;
    const cells = [];
    let best = [0, 0];
    map.levels.forEach((row, word) => row.forEach((level, column) => {
      const [left, right] = spread(map.modality, map.spans[column]);
      if (level > map.levels[best[0]][best[1]]) best = [word, column];
      cells.push(make("rect", { x: (1000 * left).toFixed(2), y: word * 10, width: Math.max(0.5, 1000 * (right - left) + 0.6).toFixed(2), height: 10.2, fill: viridis(level) }));
    }));
    const marks = one.links.filter((link) => link[1] === map.modality && link[4] !== null).map((link) => {
      const [left, right] = spread(map.modality, link[2]);
      return make("rect", { x: (1000 * left).toFixed(2), y: link[0] * 10, width: (1000 * (right - left)).toFixed(2), height: 10,
        fill: "none", stroke: "#fff", "stroke-width": 2.5, "vector-effect": "non-scaling-stroke" });
    });
    const label = `Attention of ${count} words to the ${TITLES[map.modality]}; strongest: ${one.words[best[0]][0]}, ${spanWords(map.modality, map.spans[best[1]])}`;
    return make("div", { class: "lane", style: { background: "rgb(68 1 84)" } },
      make("svg", { viewBox: `0 0 1000 ${10 * count}`, preserveAspectRatio: "none", role: "img", "aria-label": label, style: { height: `${1.15 * count}rem` } }, ...cells, ...marks));
  }

  function drawLinks(one) {
    const list = make("ul", { class: "links" });
    one.links.forEach(([word, modality, span, effect, attention]) => {
      const item = make("li", {}, make("strong", {}, `\u201c${one.words[word][0]}\u201d`), ` with the ${spanWords(modality, span)}: `,
        make("b", {}, signed(effect)), attention === null ? "" : ` (${(100 * attention).toFixed(0)} % of the word's attention) `);
      if (span[2] !== null && media) {
        const play = make("button", { type: "button" }, "Play");
        play.addEventListener("click", () => { follow.checked = false; media.currentTime = span[2]; media.play(); });
        item.append(" ", play);
      }
      list.append(item);
    });
    const note = one.links.length
      ? "By how much the word's contribution differs with these moments there and with them taken away."
      : "No word did anything together with a moment of the voice or the face in this score.";
    return make("div", {}, make("h3", {}, "Strongest links of words with voice and face"), make("p", { class: "note" }, note), list);
  }

  // Start --------------------------------------------------------------------------------------------------------------

  drawTimeline();
  document.querySelectorAll(".transcript button").forEach((button, index) => button.addEventListener("click", () => {
    choose(index);
    seek(isTimed ? utterances[index].start : null);
  }));
  document.getElementById("previous").addEventListener("click", () => step(-1, false));
  document.getElementById("next").addEventListener("click", () => step(1, false));
  if (media && isTimed) {
    ["timeupdate", "seeked", "play"].forEach((event) => media.addEventListener(event, followPlayback));
    const tellUnplayable = () => {
      const hasNoPicture = media.tagName === "VIDEO" && media.readyState > 0 && media.videoWidth === 0;
      document.getElementById("unplayable").hidden = !media.error && !hasNoPicture;
    };
    ["error", "loadedmetadata"].forEach((event) => media.addEventListener(event, tellUnplayable));
    tellUnplayable();
  }
  choose(0);
})();
