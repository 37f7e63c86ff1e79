// The report's own script: opens problems' pages, filters the list, switches the theme.
"use strict";
(() => {
  const overview = document.getElementById("overview");
  const page = document.getElementById("problem");

  // Pages lie in the file as gzip in base64.
  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  let opened = 0;
  async function show() {
    const turn = ++opened;
    const id = location.hash.slice(1);
    const packed = document.getElementById(`${id}-packed`);
    if (packed !== null) {
      const markup = await unpacked(packed.textContent);
      if (turn !== opened) return;  // another was asked for meanwhile
      page.innerHTML = markup;
      page.querySelectorAll("pre").forEach((block) => { block.tabIndex = 0; });
    }
    overview.hidden = packed !== null;
    page.hidden = packed === null;
    page.dataset.id = packed === null ? "" : id;
    if (packed !== null) {
      window.scrollTo(0, 0);
      page.focus({ preventScroll: true });
    } else if (id) {
      document.getElementById(id)?.scrollIntoView();
    }
  }
  window.addEventListener("hashchange", show);
  page.addEventListener("click", (event) => {
    event.target.closest(".pictures figure")?.classList.toggle("large");
  });
  show();

  const filter = document.getElementById("filter");
  const outcome = document.getElementById("outcome");
  const rows = [...document.querySelectorAll(".matrix tbody tr")];
  function narrow() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => row.dataset.name.includes(word))
        && (!outcome.value || row.dataset.state === outcome.value);
      row.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
  }
  filter.addEventListener("input", narrow);
  outcome.addEventListener("change", narrow);
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  narrow();

  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();
