// On a built page plotly lies beside pagewidget.js; in JupyterLab the kernel has it. Once for all figures.
function loadPlotly(model, page) {
  if (globalThis.livejaxPlotly === undefined) {
    globalThis.livejaxPlotly = page
      ? page.script("plotly-cartesian.min.js").then(() => globalThis.Plotly)
      : plotlyFromKernel(model);
    globalThis.livejaxPlotly.catch(() => { globalThis.livejaxPlotly = undefined; });
  }
  return globalThis.livejaxPlotly;
}

function plotlyFromKernel(model) {
  return new Promise((resolve, reject) => {
    const receive = async (content, buffers) => {
      if (content !== "plotly") return;
      model.off("msg:custom", receive);
      try {
        const unpacked = new Blob([buffers[0]]).stream().pipeThrough(new DecompressionStream("gzip"));
        const module = { exports: {} };
        const code = await new Response(unpacked).text();
        new Function("module", "exports", "define", code).call(globalThis, module, module.exports, undefined);
        resolve(module.exports);
      } catch (error) {
        reject(error);
      }
    };
    model.on("msg:custom", receive);
    model.send("plotly");
  });
}
