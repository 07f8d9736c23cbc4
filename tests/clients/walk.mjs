// A browser without a window: follows redirects with its cookies, and shows what it ends at.
//
// Usage: walk.mjs URL. Prints one line of JSON: status, url, body.
import { pathToFileURL } from 'node:url';

const STEPS_MAX = 20;

/** Goes from `start` until nobody sends it on, or to an address that begins with `until`. */
export async function walk(start, until) {
  const jars = new Map();
  let url = new URL(start);
  for (let step = 0; step < STEPS_MAX; step += 1) {
    if (until && url.href.startsWith(until)) {
      return { url: url.href };
    }
    const jar = jars.get(url.origin) ?? new Map();
    jars.set(url.origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { accept: 'text/html', ...(cookie && { cookie }) };
    const answer = await fetch(url, { headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      jar.set(name, value);
    }
    const location = answer.headers.get('location');
    if (!location) {
      return { status: answer.status, url: url.href, body: await answer.text() };
    }
    url = new URL(location, url);
  }
  throw new Error(`it is sent on more than ${STEPS_MAX} times`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(JSON.stringify(await walk(process.argv[2])));
}
