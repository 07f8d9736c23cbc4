// One visit of a browser to the page of the API, told as one line of JSON.
//
// Usage: browser.mjs PLAN, with {"url", "token", "browser"}: the gateway, an administrator's token,
// and the browser's program. RINGWAY_TEST_NODE names the folder whose node_modules hold
// playwright-core.
import { createRequire } from 'node:module';

const plan = JSON.parse(process.argv[2]);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { chromium } = load('playwright-core');

// A browser that runs as root, as in a container, has no sandbox.
const browser = await chromium.launch({ executablePath: plan.browser, args: ['--no-sandbox'] });
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  const seen = { requests: [], messages: [] };
  context.on('request', (request) => seen.requests.push(request.url()));
  page.on('console', (message) => seen.messages.push(message.text()));
  page.on('pageerror', (error) => seen.messages.push(error.message));

  await page.goto(`${plan.url}/docs`);
  await page.getByText('needs a token').waitFor();
  seen.focused = await page.evaluate(() => document.activeElement.id);
  // A browser notes every answer that is an error; the one that asks for a token is as it should be.
  seen.refusals = seen.messages.splice(0);
  await page.getByLabel('Bearer token').fill(plan.token);
  await page.keyboard.press('Enter');

  const listTools = page.locator('#tools');
  await listTools.waitFor();
  seen.operations = await page.locator('details.operation').evaluateAll((all) => all.map((one) => one.id));
  await listTools.locator('> summary').focus();
  await page.keyboard.press('Enter');
  await listTools.getByLabel('limit').fill('5');
  await listTools.getByRole('button', { name: 'Send' }).click();
  await listTools.locator('pre').waitFor();
  seen.answer = await listTools.getByRole('status').innerText();

  await listTools.locator('details', { hasText: '200 Done' }).first().locator('> summary').click();
  await listTools.getByText('originalName').first().waitFor();
  await page.getByLabel('Filter').fill('refresh');
  seen.filtered = await page.locator('details.operation:visible').evaluateAll((all) => all.map((one) => one.id));
  seen.kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
