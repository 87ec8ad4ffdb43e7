"use strict";
// Charts by plotly, molecules in space by 3Dmol; here is what is between them and the page.
(async () => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    Object.assign(made, attributes);
    made.append(...children);
    return made;
  };
  const trouble = (text) => { $("trouble").hidden = false; $("trouble").textContent = text; };
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  if (typeof DecompressionStream === "undefined") {
    trouble("This browser is too old for the charts; the tables are below.");
    return;
  }
  const { charts, gallery } = await unpack($("data").textContent.trim());
  const { molecules, limits, colours } = gallery;
  const unit = gallery.unit;
  const written = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
    return text.replace("-", "−");
  };

  // ---- charts -------------------------------------------------------------------------------
  const coarse = matchMedia("(pointer: coarse)").matches;
  const drawChart = async (place) => {
    const { data, layout } = charts[place.dataset.chart];
    const narrow = place.clientWidth < 480;
    await Plotly.newPlot(place, data, {
      ...layout,
      margin: { l: narrow ? 48 : 64, r: 14, t: 12, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { size: narrow ? 11 : 12 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hoverlabel: { bgcolor: "#1c222a", bordercolor: "#1c222a", font: { color: "#fff" } },
      dragmode: coarse ? false : "zoom",
      hovermode: "closest",
    }, { responsive: true, displayModeBar: false });
    const frame = () => { // by which a chart shrinks in print, where no script runs
      for (const svg of place.querySelectorAll(".main-svg")) {
        svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
      }
    };
    frame();
    place.on("plotly_afterplot", frame);
    place.on("plotly_hover", (event) => showHover(event.points[0], event.event));
    place.on("plotly_unhover", () => { $("hover").hidden = true; });
    place.on("plotly_click", (event) => {
      const known = event.points[0].customdata;
      if (known && known[0] >= 0) choose(known[0], false);
    });
  };
  const showHover = (point, mouse) => {
    const known = point.customdata;
    if (!known) return;
    const [number, name] = known;
    const box = $("hover");
    box.replaceChildren(make("h3", { textContent: number >= 0 ? molecules[number].name : name || "not drawn here" }));
    if (number >= 0) {
      box.append(make("div", { textContent: `${molecules[number].formula} ${molecules[number].part}` }));
      box.append(drawing(molecules[number], gallery.explained ? "relevance" : "", limits.relevance));
    }
    const onAxis = point.data.y.length && point.data.hoverinfo === "none" && point.data.name === "far from the rest";
    box.append(make("div", { textContent: onAxis ? written(point.x) : `computed ${written(point.x)}, predicted ${written(point.y)}` }));
    box.hidden = false;
    const { clientX: x = 0, clientY: y = 0 } = mouse || {};
    box.style.left = `${Math.max(4, Math.min(x + 16, innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.max(4, Math.min(y + 16, innerHeight - box.offsetHeight - 8))}px`;
  };

  // ---- drawings -----------------------------------------------------------------------------
  const SVG = "http://www.w3.org/2000/svg";
  const node = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const told = {
    relevance: "relevance", own: "relevance with own terms", above: "relevance above the element’s",
    share: "share of the physics", shareAbove: "share above the element’s",
  };
  const STRONGEST = 0.85; // of a disk, so that the letter on it stays legible
  const drawing = (molecule, kind, limit) => {
    const [width, height] = gallery.size;
    const values = kind ? molecule[kind] : [];
    const words = values.length ? `, atoms coloured by ${told[kind]}` : "";
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": molecule.formula + words });
    const disks = node("g", {}), spots = node("g", {});
    molecule.spots.forEach(([cx, cy, r], atom) => {
      const value = values[atom] ?? 0;
      const opacity = STRONGEST * Math.min(Math.abs(value) / limit, 1);
      disks.append(node("circle", { cx, cy, r, fill: value > 0 ? colours.positive : colours.negative, "fill-opacity": opacity.toFixed(3) }));
      const spot = node("circle", { cx, cy, r, "fill-opacity": 0 });
      const title = node("title", {});
      title.textContent = `${molecule.symbols[atom]}${atom + 1}` + (values.length ? `: ${value > 0 ? "+" : ""}${written(value)} ${unit}` : "");
      spot.append(title);
      spots.append(spot);
    });
    const lines = node("g", { fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round" });
    lines.innerHTML = molecule.drawing; // made by RDKit of atoms and bonds; no name is in it
    for (const text of lines.querySelectorAll("text")) {
      text.setAttribute("fill", "currentColor");
      text.setAttribute("stroke", "none");
    }
    svg.append(disks, lines, spots);
    return svg;
  };

  // ---- the gallery --------------------------------------------------------------------------
  const PAGE = 24;
  let found = [], room = PAGE;
  const sortings = [
    ["as listed", (one, place) => place],
    ...(molecules.some((one) => one.error !== null) ? [["error (largest first)", (one) => -Math.abs(one.error ?? 0)]] : []),
    ["size (heavy atoms)", (one) => one.heavy],
    ["name", (one) => one.name],
    ...(gallery.explained ? [["cancellation (largest first)", (one) => -(one.cancellation ?? Infinity)]] : []),
    ...gallery.properties.map(({ quantity }, place) => [quantity, (one) => one.values[place] ?? Infinity]),
  ];
  const search = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const exact = $("search").value.trim();
    const matches = (one) => {
      const text = [one.name, one.formula, ...one.groups].join(" ").toLowerCase();
      return words.every((word) => text.includes(word)) || (exact && one.smiles.includes(exact));
    };
    found = molecules.map((one, place) => place).filter((place) => {
      const one = molecules[place];
      return matches(one) && (!$("group").value || one.groups.includes($("group").value))
        && (!$("part").value || one.part === $("part").value);
    });
    const [, of] = sortings[Number($("sort").value) || 0];
    const key = new Map(found.map((place) => [place, of(molecules[place], place)]));
    found.sort((a, b) => (key.get(a) < key.get(b) ? -1 : key.get(a) > key.get(b) ? 1 : a - b));
    if ($("backwards").checked) found.reverse();
    room = PAGE;
    show();
  };
  const shareOf = (kind) => (kind === "above" ? "shareAbove" : "share");
  const limitsOf = (one, kind) => {
    const panels = gallery.shares ? [kind, shareOf(kind)] : [kind];
    if ($("scale").value === "one") return Math.max(...panels.map((each) => limits[each]));
    return Math.max(...panels.flatMap((each) => one[each].map((value) => Math.abs(value ?? 0))), 1e-12);
  };
  const show = () => {
    const kind = $("colour").value;
    $("count").textContent = `${found.length} of ${molecules.length} molecules`;
    $("cards").classList.toggle("two", gallery.explained && gallery.shares);
    $("cards").replaceChildren(...found.slice(0, room).map((place) => card(place, kind)));
    $("more").hidden = found.length <= room;
    const common = $("scale").value === "one" ? limitsOf({}, kind) : null;
    $("ends").textContent = common ? `−${written(common)} to +${written(common)} ${unit}` : "− to + the largest of each drawing";
  };
  const card = (place, kind) => {
    const one = molecules[place];
    const made = make("article");
    const drawings = make("div", { className: "drawings" });
    if (gallery.explained) {
      const limit = limitsOf(one, kind);
      drawings.append(make("div", {}, drawing(one, kind, limit), told[kind]));
      if (gallery.shares) drawings.append(make("div", {}, drawing(one, shareOf(kind), limit), told[shareOf(kind)]));
    } else drawings.append(make("div", {}, drawing(one, "", 1)));
    made.append(drawings, make("h3", { textContent: one.name }),
      make("p", { className: "kind", textContent: [one.formula, one.part].filter(Boolean).join(" · ") }), ledger(one));
    const button = make("button", { type: "button", textContent: "In 3D" });
    button.addEventListener("click", () => choose(place, true));
    made.append(button);
    return made;
  };
  const ledger = (one) => {
    const table = make("table", { className: "ledger" });
    const row = (name, value, className = "") => table.insertRow().append(
      make("td", { textContent: name }), make("td", { textContent: value })) || (table.rows[table.rows.length - 1].className = className);
    one.ledger.forEach(([name, value]) => row(name, value));
    if (one.predicted !== "–") row("predicted", one.predicted, "sum");
    if (one.computed !== "–") row("computed", one.computed, "computed");
    if (one.cancellation !== null) row("cancellation", written(one.cancellation));
    return table;
  };

  // ---- one molecule in space ----------------------------------------------------------------
  let viewer = null, chosen = 0, turning = false;
  const makeViewer = () => {
    try {
      viewer = $3Dmol.createViewer($("viewer"), { backgroundAlpha: 0, antialias: true });
    } catch {
      viewer = null;
    }
    if (!viewer) $("viewer").textContent = "This browser shows no WebGL, so nothing turns here.";
  };
  const shade = (value, limit) => { // from white, as the disks do on paper
    const part = STRONGEST * Math.min(Math.abs(value) / limit, 1);
    const full = (value > 0 ? colours.positive : colours.negative).match(/\w\w/g).map((two) => parseInt(two, 16));
    return "#" + full.map((channel) => Math.round(255 + (channel - 255) * part).toString(16).padStart(2, "0")).join("");
  };
  const paint = () => {
    const one = molecules[chosen], kind = $("paint").value;
    $("facts-of-one").replaceChildren(...factsOf(one));
    if (!viewer) return;
    viewer.clear();
    const at = (atom) => one.positions.slice(3 * atom, 3 * atom + 3);
    const lines = one.symbols.map((symbol, atom) => `${symbol} ${at(atom).join(" ")}`);
    viewer.addModel(`${one.symbols.length}\n\n${lines.join("\n")}\n`, "xyz");
    viewer.setStyle({}, { stick: { radius: 0.1, color: "#8a93a0" }, sphere: { scale: 0.27 } });
    const values = kind === "element" ? [] : one[kind];
    const limit = Math.max(...values.map((value) => Math.abs(value ?? 0)), 1e-12);
    values.forEach((value, atom) => viewer.setStyle({ index: atom },
      { stick: { radius: 0.1, color: "#8a93a0" }, sphere: { scale: 0.27, color: shade(value ?? 0, limit) } }));
    const count = one.symbols.length;
    const middle = [0, 1, 2].map((axis) => one.symbols.reduce((sum, _, atom) => sum + at(atom)[axis], 0) / count);
    const reach = Math.max(1.2, ...one.symbols.map((_, atom) => Math.hypot(...at(atom).map((x, axis) => x - middle[axis]))));
    for (const [name, color] of [["dipole", "#009e73"], ["beta", "#cc79a7"]]) {
      const size = one[name].length ? Math.hypot(...one[name]) : 0;
      if (!$(name).checked || size < 1e-6) continue;
      const end = middle.map((x, axis) => x + (one[name][axis] / size) * (reach + 0.8));
      const point = ([x, y, z]) => ({ x, y, z });
      viewer.addArrow({ start: point(middle), end: point(end), radius: 0.07, radiusRatio: 2.2, mid: 0.85, color });
    }
    viewer.zoomTo();
    viewer.render();
  };
  const turn = () => { // a degree a frame, so that a slow machine turns slowly and still answers
    if (!turning || !viewer) return;
    viewer.rotate(1, "y");
    requestAnimationFrame(turn);
  };
  const factsOf = (one) => {
    const rows = [["formula", one.formula], ["SMILES", one.smiles || "–"], ["part", one.part || "–"]];
    if (one.groups.length) rows.push(["groups", one.groups.join(", ")]);
    gallery.properties.forEach(({ quantity, unit: of }, place) => rows.push([quantity, `${written(one.values[place])} ${of}`]));
    if (one.predicted !== "–") rows.push(["predicted", `${one.predicted} ${unit}`]);
    for (const [name, told] of [["dipole", "dipole (green arrow), e a₀"], ["beta", "β vector (pink arrow), a.u."]]) {
      if (one[name].length) rows.push([told, one[name].map(written).join(", ")]);
    }
    if (one.cancellation !== null) rows.push(["cancellation", written(one.cancellation)]);
    const table = make("table", { className: "ledger" });
    for (const [name, value] of rows) table.insertRow().append(make("td", { textContent: name }), make("td", { textContent: value }));
    return [make("h3", { textContent: one.name }), table,
      make("p", { className: "note", textContent: "Arrows give directions, in the frame of the geometry; their numbers are above. Colours: from the largest of this molecule." })];
  };
  const choose = (place, scroll) => {
    chosen = place;
    $("one").value = String(place);
    paint();
    if (scroll) $("space").scrollIntoView({ block: "start" });
  };

  const legend = () => {
    const context = $("bar").getContext("2d");
    const { width, height } = $("bar");
    for (let x = 0; x < width; x++) {
      const value = (2 * x) / (width - 1) - 1;
      context.globalAlpha = STRONGEST * Math.abs(value);
      context.fillStyle = value > 0 ? colours.positive : colours.negative;
      context.fillRect(x, 0, 1, height);
    }
  };
  const options = (id, pairs) => $(id).append(...pairs.map(([value, text]) => make("option", { value, textContent: text })));
  const start = () => {
    options("group", gallery.groups.map((group) => [group, group]));
    options("part", gallery.parts.filter(Boolean).map((part) => [part, part]));
    options("sort", sortings.map(([name], place) => [place, name]));
    options("one", molecules.map((one, place) => [place, one.name]));
    const kinds = [["relevance", "relevance alone"]];
    if (gallery.own) kinds.push(["own", "relevance with the atom’s own terms"]);
    if (Object.keys(gallery.worth).length) kinds.push(["above", "relevance above the element’s worth"]);
    options("colour", kinds);
    if (gallery.explained) options("paint", kinds);
    if (gallery.shares) options("paint", [["share", "share of the physics"]]);
    if (gallery.explained) $("paint").value = "relevance";
    for (const each of document.querySelectorAll(".explained")) each.hidden = !gallery.explained;
    for (const each of document.querySelectorAll("form")) each.addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["search", "group", "part", "sort", "backwards"]) $(id).addEventListener("input", search);
    for (const id of ["colour", "scale"]) $(id).addEventListener("input", show);
    for (const id of ["paint", "dipole", "beta"]) $(id).addEventListener("input", paint);
    $("one").addEventListener("input", () => choose(Number($("one").value), false));
    $("more").addEventListener("click", () => { room += PAGE; show(); });
    $("turn").addEventListener("click", () => {
      turning = !turning;
      $("turn").textContent = turning ? "Stop" : "Turn";
      turn();
    });
    $("front").addEventListener("click", () => { if (viewer) { viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]); paint(); } });
    legend();
    search();
    makeViewer();
    choose(0, false);
  };

  for (const place of document.querySelectorAll("[data-chart]")) await drawChart(place);
  if (molecules.length) start();
  document.documentElement.dataset.ready = "yes";
})();
