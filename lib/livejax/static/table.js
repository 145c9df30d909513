// The data of the figure as tables of text: the twin of table.py.

const MAX_ROWS = 25;
const MAX_COLUMNS = 7;
const CELL_FORMAT = ".4g";
const NOTHING = "–";

function thin(count, limit) {
  if (count <= limit) return Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: limit }, (_, i) => Math.floor((i * (count - 1)) / (limit - 1) + 0.5));
}

function cellText(value) {
  return formatNumber(value === null ? NaN : Number(value), CELL_FORMAT);
}

function columnCells(column, outputs, length) {
  let values = column.key !== undefined
    ? Array.from(outputs[column.key])
    : column.values ?? Array.from({ length }, (_, i) => i);
  if (column.count) values = values.slice(0, outputs[column.count][0]);
  const texts = values.slice(0, length).map((v) => (typeof v === "string" ? v : cellText(v)));
  while (texts.length < length) texts.push(NOTHING);
  return texts;
}

function columnLength(column, outputs) {
  if (column.count) return outputs[column.count][0];
  return column.key !== undefined ? outputs[column.key].length : (column.values ?? []).length;
}

function buildGrid(table, outputs, shape) {
  const [height, width] = shape;
  const rows = thin(height, MAX_ROWS);
  const columns = thin(width, MAX_COLUMNS);
  const x = columnCells(table.x, outputs, width);
  const y = columnCells(table.y, outputs, height);
  const z = outputs[table.z];
  return {
    caption: table.caption,
    note: `${rows.length} of ${height} rows, ${columns.length} of ${width} columns`,
    head: [table.corner, ...columns.map((j) => x[j])],
    rows: rows.map((i) => [y[i], ...columns.map((j) => cellText(z[i * width + j]))]),
  };
}

function buildTable(table, outputs, shapes) {
  if (table.kind === "grid") return buildGrid(table, outputs, shapes[table.z]);
  const length = Math.max(...table.columns.map((column) => columnLength(column, outputs)));
  const rows = thin(length, MAX_ROWS);
  const texts = [table.x, ...table.columns].map((column) => columnCells(column, outputs, length));
  return {
    caption: table.caption,
    note: `${rows.length} of ${length} rows`,
    head: [table.corner, ...table.columns.map((column) => column.head)],
    rows: rows.map((i) => texts.map((column) => column[i])),
  };
}

function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function tableElement({ caption, note, head, rows }) {
  const table = element("table", null);
  const headRow = element("tr", null);
  headRow.append(...head.map((text) => element("th", text, { scope: "col" })));
  const thead = element("thead", null);
  thead.append(headRow);
  const tbody = element("tbody", null);
  for (const [first, ...rest] of rows) {
    const row = element("tr", null);
    row.append(element("th", first, { scope: "row" }), ...rest.map((text) => element("td", text)));
    tbody.append(row);
  }
  table.append(element("caption", `${caption} (${note})`), thead, tbody);
  return table;
}
