#include "engine/train/report_parts.h"

namespace engine::report {

const std::string_view kStyle = R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1c2330;--soft:#5d6778;--line:#e1e5eb;--grid:#eceff3;
--train:#5b7fb5;--val:#d9552b;--other:#6f7f52;--right:38 124 92;--wrong:204 68 34}
@media (prefers-color-scheme:dark){:root{--page:#12161d;--card:#1a2029;--ink:#e4e8ee;--soft:#97a2b3;--line:#2b3340;--grid:#262d38;
--train:#7fa6e0;--val:#ff8a5c;--other:#a9bd84;--right:64 170 128;--wrong:236 96 58}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 12px}
.subtitle{margin:4px 0 0;color:var(--soft)}
.subtitle span+span::before{content:"·";margin:0 8px}
small{font-weight:400;font-size:.62em;color:var(--soft)}
section{margin-top:34px;min-width:0}
.note{margin:-6px 0 12px;color:var(--soft);font-size:13.5px}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:22px 0 0}
.tile{flex:1 1 130px;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.tile:first-child{flex-grow:2}
.tile dt{color:var(--soft);font-size:13px}
.tile dd{margin:0;font-size:25px;font-weight:600;line-height:1.3;white-space:nowrap}
.tile p{margin:0;color:var(--soft);font-size:12.5px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px}
figure{margin:0}
.plot{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px 6px;position:relative;min-width:0}
.plot figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 6px;font-size:14px}
.plot i{color:var(--soft);font-style:normal;font-size:12.5px}
.legend{margin-left:auto;display:flex;flex-wrap:wrap;gap:0 14px;color:var(--soft);font-size:12.5px}
.legend small{font-size:11px}
.key::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;background:var(--c);margin-right:6px;vertical-align:middle}
.key b{color:var(--ink);font-weight:600}
.train,.shallow{--c:var(--train)}.val,.deep{--c:var(--val)}.other{--c:var(--other)}.ema{--c:#8b6fc0}.reference{--c:var(--soft)}
.chart{display:block;width:100%;height:auto;margin-top:4px;overflow:visible}
.chart text{font-size:11.5px;fill:var(--soft)}
.chart line{stroke:var(--soft);stroke-width:1}
.chart line.grid{stroke:var(--grid)}
.chart .line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.chart .line.thin{stroke-width:1;opacity:.75}.chart .line.dashed{stroke-dasharray:6 4}
.chart .band{fill:var(--c);opacity:.2}
.chart .end{fill:var(--c)}
.chart circle.best{fill:none;stroke:var(--c);stroke-width:1.5}
.chart text.best{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.chart .cursor{stroke:var(--soft);stroke-dasharray:3 3}
.readout{position:absolute;pointer-events:none;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:4px 9px;
font-size:12px;line-height:1.45;white-space:nowrap;box-shadow:0 2px 8px rgb(0 0 0/.16);color:var(--soft)}
.readout b{color:var(--ink)}
.columns{display:grid;grid-template-columns:minmax(0,1.7fr) minmax(0,1fr);gap:0 34px}
@media (max-width:820px){.columns{grid-template-columns:minmax(0,1fr)}}
h3{font-size:14px;margin:20px 0 8px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px}
table{border-collapse:separate;border-spacing:2px;width:100%;font-size:13px}
th{font-weight:500;color:var(--soft);text-align:left}
.matrix th[scope=col]{vertical-align:bottom;padding:0 0 4px}
.matrix th[scope=col] span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);max-height:110px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.matrix th[scope=col],.matrix td{text-align:center;min-width:26px}
.matrix th[scope=row]{text-align:right;padding-right:8px;white-space:nowrap;max-width:150px;overflow:hidden;text-overflow:ellipsis}
.matrix .corner{vertical-align:bottom;font-size:11.5px;line-height:1.3;text-align:right;padding:0 8px 4px 0}
.matrix .corner span{display:block}
.matrix .corner span:first-child::after{content:" ↓"}.matrix .corner span:last-child::after{content:" →"}
.matrix td{height:30px;border-radius:4px;color:var(--line);padding:0 3px}
.matrix .right{background:rgb(var(--right)/var(--v));color:var(--ink)}
.matrix .wrong{background:rgb(var(--wrong)/var(--v));color:var(--ink)}
.matrix .strong{color:#fff}
.pairs{border-spacing:0}
.pairs td,.pairs th{padding:4px 10px 4px 4px;border-bottom:1px solid var(--grid)}
.number{text-align:right!important}
.bar{display:grid;grid-template-columns:minmax(70px,32%) 1fr 58px;gap:10px;align-items:center;font-size:13.5px;padding:3px 0}
.bar .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;text-align:right;color:var(--soft)}
.track{background:var(--grid);border-radius:4px;height:14px;overflow:hidden}
.fill{display:block;height:100%;background:rgb(var(--right)/.85);border-radius:4px}
.value{text-align:right}
.shares{display:flex;height:18px;border-radius:5px;overflow:hidden;background:var(--grid)}
.share{background:var(--c)}
.sharelegend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:8px 0 0;color:var(--soft);font-size:13px}
.device{--c:rgb(var(--right))}.data{--c:var(--val)}.copy{--c:var(--train)}.comm{--c:#8b6fc0}.host{--c:var(--other)}
.filters{display:flex;flex-wrap:wrap;gap:6px}
.filters img{width:44px;height:44px;image-rendering:pixelated;border:1px solid var(--line);border-radius:4px}
details summary{cursor:pointer}details summary h2{display:inline}details[open] summary{margin-bottom:12px}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(138px,1fr));gap:12px}
.picture{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;font-size:12.5px}
.picture img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--grid)}
.picture img.pixels{image-rendering:pixelated}
.picture figcaption{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:0 6px;padding:6px 10px 8px;line-height:1.4}
.picture figcaption span{overflow-wrap:anywhere}
.truth{grid-column:1/-1;font-weight:600}.truth::before{content:"true ";font-weight:400;color:var(--soft)}
.taken{color:rgb(var(--wrong))}.taken::before{content:"as ";color:var(--soft)}
.picture .value{color:var(--soft);white-space:nowrap;align-self:end}
.settings{columns:2 400px;column-gap:44px;margin:0;font-size:13.5px}
.settings div{display:flex;justify-content:space-between;gap:16px;border-bottom:1px solid var(--line);padding:3px 0;break-inside:avoid}
.settings dt{color:var(--soft);white-space:nowrap}
.settings dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;margin:0;overflow-x:auto;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
.predictions{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px}
.prediction .views{display:flex}.prediction .views img{flex:1 1 0;min-width:0}
.prediction figcaption{display:block}.prediction p{margin:0 0 4px;color:var(--soft);overflow-wrap:anywhere}
.prediction .bar{grid-template-columns:minmax(0,1fr) 90px 58px}.prediction .bar .name{text-align:left;color:var(--ink)}
@media print{body{background:none}.plot,.picture,.tile{break-inside:avoid}}
)css";

const std::string_view kScript = R"js(
for (const svg of document.querySelectorAll('svg.chart')) {
  const [left, top, right, bottom] = svg.dataset.bounds.split(' ').map(Number);
  const lines = [...svg.querySelectorAll('path.line')].map(path => ({
    name: path.dataset.name,
    points: path.dataset.values.split(';').filter(Boolean).map(v => v.split(','))
  }));
  const figure = svg.parentNode, readout = document.createElement('div');
  readout.className = 'readout';
  readout.hidden = true;
  figure.append(readout);
  const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  cursor.setAttribute('class', 'cursor');
  cursor.setAttribute('y1', top);
  cursor.setAttribute('y2', bottom);
  cursor.style.display = 'none';
  svg.append(cursor);
  const hide = () => { readout.hidden = true; cursor.style.display = 'none'; };
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / scale;
    if (x < left - 8 || x > right + 8) return hide();
    const nearest = lines.map(line => ({name: line.name, at: line.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)}));
    const first = nearest.reduce((a, b) => Math.abs(b.at[0] - x) < Math.abs(a.at[0] - x) ? b : a).at;
    readout.replaceChildren(svg.dataset.x + ' ' + first[2]);
    for (const {name, at} of nearest) {
      const row = document.createElement('div'), value = document.createElement('b');
      value.textContent = at[3];
      row.append(name + ' ', value);
      readout.append(row);
    }
    cursor.setAttribute('x1', first[0]);
    cursor.setAttribute('x2', first[0]);
    cursor.style.display = '';
    readout.hidden = false;
    const at = svg.offsetLeft || (box.left - figure.getBoundingClientRect().left), px = at + first[0] * scale;
    readout.style.top = (box.top - figure.getBoundingClientRect().top + top * scale) + 'px';
    readout.style.left = Math.min(px + 12, figure.clientWidth - readout.offsetWidth - 6) + 'px';
  });
}
)js";

}  // namespace engine::report
