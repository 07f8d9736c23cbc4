// A WebSocket of Node's own, told as one line of JSON: pings that overtake each other, the last of
// them large.
//
// Usage: socket.mjs URL TOKEN
const [url, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const socket = new WebSocket(url, { protocols: ['mcp'], headers });
const ids = [];

socket.onopen = () => {
  for (let id = 1; id <= 20; id += 1) {
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }));
  }
  const large = { _meta: { x: 'x'.repeat(200_000) } };
  socket.send(JSON.stringify({ jsonrpc: '2.0', id: 21, method: 'ping', params: large }));
};
socket.onmessage = (event) => {
  ids.push(JSON.parse(event.data).id);
  if (ids.length === 21) {
    socket.close(1000);
  }
};
socket.onclose = (event) => {
  const { code, wasClean } = event;
  ids.sort((one, other) => one - other);
  console.log(JSON.stringify({ protocol: socket.protocol, ids, code, wasClean }));
};
