// An agent made with the official A2A kit, which speaks 1.0 and 0.3. Prints its port.
//
// What it is asked decides how it answers: "task" with a task that works for a moment before it
// writes an artifact, "fail" with one that fails, and anything else with a message that repeats it,
// with data and a file beside. RINGWAY_TEST_NODE names the folder whose node_modules hold the kit.
import { createRequire } from 'node:module';

const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { AgentCard, Message, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent } =
  load('@a2a-js/sdk');
const { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } = load('@a2a-js/sdk/server');
const { UserBuilder, jsonRpcHandler } = load('@a2a-js/sdk/server/express');
const express = load('express');

const text = (message) => message.parts.map((part) => part.content?.value ?? '').join(' ');
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function says(parts) {
  return { messageId: crypto.randomUUID(), role: 'ROLE_AGENT', parts };
}

async function work(fails, { taskId, contextId }, bus) {
  const status = (state, parts) =>
    TaskStatusUpdateEvent.fromJSON({
      taskId,
      contextId,
      status: { state, message: parts && says(parts) },
    });
  const submitted = { id: taskId, contextId, status: { state: 'TASK_STATE_SUBMITTED' } };
  bus.publish(AgentEvent.task(Task.fromJSON(submitted)));
  bus.publish(AgentEvent.statusUpdate(status('TASK_STATE_WORKING')));
  await pause(300);
  if (fails) {
    bus.publish(AgentEvent.statusUpdate(status('TASK_STATE_FAILED', [{ text: 'no luck' }])));
  } else {
    const artifact = { artifactId: 'a', parts: [{ text: 'the work is done' }] };
    const update = TaskArtifactUpdateEvent.fromJSON({ taskId, contextId, artifact, lastChunk: true });
    bus.publish(AgentEvent.artifactUpdate(update));
    bus.publish(AgentEvent.statusUpdate(status('TASK_STATE_COMPLETED')));
  }
  bus.finished();
}

const executor = {
  async execute(request, bus) {
    const asked = text(request.userMessage);
    if (asked === 'task' || asked === 'fail') {
      await work(asked === 'fail', request, bus);
      return;
    }
    const parts = [
      { text: `you said ${asked}` },
      { data: { asked } },
      { raw: 'iVBORw0KGgo=', mediaType: 'image/png', filename: 'dot.png' },
    ];
    bus.publish(AgentEvent.message(Message.fromJSON(says(parts))));
    bus.finished();
  },
  async cancelTask() {},
};

const app = express();
const server = app.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const at = (protocolVersion) => {
    return { url: `http://127.0.0.1:${port}/`, protocolBinding: 'JSONRPC', protocolVersion };
  };
  const card = AgentCard.fromJSON({
    name: 'Repeater',
    description: 'Repeats what it is told',
    version: '1',
    supportedInterfaces: [at('1.0'), at('0.3')],
    capabilities: { streaming: false },
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [],
  });
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), executor);
  const legacyCompat = { enabled: process.argv[2] === 'both' };
  const userBuilder = UserBuilder.noAuthentication;
  app.use('/', jsonRpcHandler({ requestHandler, userBuilder, legacyCompat }));
  console.log(port);
});
