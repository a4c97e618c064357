// Asks for the same page as JSON, and puts the numbers where the page has them.
const find = (data, path) => path.split(".").reduce((inside, name) => inside[name], data);

function row(order) {
  const tr = document.createElement("tr");
  for (const text of [order.number, order.thing, `${order.price} €`, order.at]) {
    tr.insertCell().textContent = text;
  }
  const link = document.createElement("a");
  link.href = `/orders/${order.number}`;
  link.textContent = order.number;
  tr.cells[0].replaceChildren(link);
  return tr;
}

function bar(count) {
  const i = document.createElement("i");
  i.style.setProperty("--n", count);
  return i;
}

async function refresh() {
  const answer = await fetch(location.pathname, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const data = await answer.json();
  for (const place of document.querySelectorAll("[data-live]")) {
    place.textContent = find(data, place.dataset.live);
    if (place.dataset.live === "orders.state") place.className = data.orders.state;
  }
  document.querySelector("[data-orders]").replaceChildren(...data.stats.latest.map(row));
  document.querySelector("[data-pace]").replaceChildren(...data.stats.pace.map(bar));
}

if (document.querySelector("[data-live]")) {
  setInterval(() => refresh().catch(() => {}), 1000);
}
