// A target's presence over the last two minutes, with the threshold.

const SPAN_S = 120;

export class Curve {
  #plot;
  #threshold = null;
  #data = [[], []];

  constructor(place) {
    this.place = place;
    const style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(name).trim();
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: colour("--muted"), font, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: Math.max(120, place.clientWidth || 300),
        height: 74,
        pxAlign: false,
        cursor: { show: false },
        legend: { show: false },
        padding: [5, 14, 0, 0],
        scales: { x: { time: false, range: () => [-SPAN_S, 0] }, y: { range: [0, 1] } },
        axes: [
          { ...axis, size: 18, grid: { show: false }, splits: () => [-120, -60, 0], values: () => ["2 min", "1 min", "now"] },
          { ...axis, size: 34, grid: { stroke: colour("--line"), width: 1 }, splits: () => [0, 0.5, 1], values: () => ["0", "50", "100"] },
        ],
        series: [
          {},
          { stroke: colour("--accent"), width: 1.6, fill: `${colour("--accent")}26`, points: { show: false }, spanGaps: false },
        ],
        hooks: { draw: [(plot) => this.#drawThreshold(plot, colour("--searching"))] },
      },
      this.#data,
      place,
    );
    new ResizeObserver(() => place.clientWidth && this.#plot.setSize({ width: place.clientWidth, height: 74 })).observe(place);
  }

  /** Points are [seconds, value or null]; now is the second at the right edge. */
  show(points, now, threshold) {
    this.#threshold = threshold;
    this.#data = [points.map(([at]) => at - now), points.map(([, value]) => value)];
    this.#plot.setData(this.#data);
  }

  #drawThreshold(plot, colour) {
    if (this.#threshold === null || this.#threshold < 0) return;
    const { ctx } = plot;
    const y = plot.valToPos(this.#threshold, "y", true);
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.setLineDash([5, 4]);
    ctx.lineWidth = 1.2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(plot.bbox.left, y);
    ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}
