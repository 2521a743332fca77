'use strict';
/*
 * A device made of lwm2m-node-lib: LwM2M 1.0 over plain CoAP, text values, single resources only.
 *
 *   node client.js --server coap://HOST:PORT --endpoint NAME --lifetime SECONDS
 *                  [--set /OBJECT/INSTANCE/RESOURCE=VALUE]... [--formats NUMBER,NUMBER,...]
 *
 * --formats: content formats the library is told of; it drops a request without a word if its Accept is not
 * among them (it answers in text all the same). Text, link format and CBOR are always known.
 *
 * Events go out as one line of JSON each, commands come in as one line of words each:
 * update, set PATH VALUE, deregister, quit. The library is found through NODE_PATH.
 */

// The library logs to standard output, which belongs to the events.
require('logops').setStream(process.stderr);

const readline = require('node:readline');
const { promisify } = require('node:util');
const { client } = require('lwm2m-node-lib');

const setResource = promisify(client.registry.setResource);
const createObject = promisify(client.registry.create);
const register = promisify(client.register);
const updateRegistration = promisify(client.update);
const unregister = promisify(client.unregister);

/** The library cuts off all before the first slash of a path it sends; its own server puts one there. */
function fixLocation(device) {
  device.location = `/${device.location}`;
}

function event(name, fields) {
  process.stdout.write(`${JSON.stringify({ event: name, ...fields })}\n`);
}

/** {server, endpoint, lifetime, values: {path: text}} from the command line. */
function parseArguments(words) {
  const parsed = { values: {} };
  for (let i = 0; i < words.length; i += 2) {
    const [option, value] = [words[i], words[i + 1]];
    if (option === '--set') {
      const equals = value.indexOf('=');
      parsed.values[value.slice(0, equals)] = value.slice(equals + 1);
    } else {
      parsed[option.replace('--', '')] = value;
    }
  }
  return parsed;
}

function format(number) {
  return { name: `format/${number}`, value: Number(number) };
}

/** ['/3/0', '9'] from '/3/0/9'. */
function split(path) {
  const match = /^(\/\d+\/\d+)\/(\d+)$/.exec(path);
  if (!match) {
    throw new Error(`not a resource path: ${path}`);
  }
  return [match[1], match[2]];
}

async function createObjects(values) {
  for (const instance of new Set(Object.keys(values).map((path) => split(path)[0]))) {
    await createObject(instance);
  }
  for (const [path, value] of Object.entries(values)) {
    await setResource(...split(path), value);
  }
}

/** Reports every operation; the library itself answers from its registry. */
function reportOperations(device) {
  for (const operation of ['read', 'write', 'execute']) {
    client.setHandler(device.serverInfo, operation, (object, instance, resource, value, done) => {
      const path = `/${object}/${instance}/${resource}`;
      event(operation, operation === 'read' ? { path } : { path, value });
      done(null);
    });
  }
}

/** The code is there only if the server answered. */
function failed(operation, error) {
  const code = (/\d\.\d\d/.exec(error.message) || [])[0];
  event('failed', { operation, code, reason: `${error.name}: ${error.message}` });
}

async function report(operation, action) {
  try {
    await action();
  } catch (error) {
    failed(operation, error);
  }
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  const server = new URL(options.server);
  client.init({
    client: {
      lifetime: options.lifetime,
      version: '1.0',
      ipProtocol: 'udp4',
      serverProtocol: 'udp4',
      formats: (options.formats || '').split(',').filter(Boolean).map(format),
    },
  });
  await createObjects(options.values);

  let device;
  const commands = {
    async update() {
      // The library updates from a new port and goes on listening there, with fresh handlers.
      await updateRegistration(device);
      reportOperations(device);
      event('updated', {});
    },
    async set(path, ...words) {
      await setResource(...split(path), words.join(' '));
      event('set', { path, value: words.join(' ') });
    },
    async deregister() {
      // The library takes any answer for a success.
      await unregister(device);
      event('deregistered', {});
    },
    async quit() {
      process.exit(0);
    },
  };

  await report('register', async () => {
    device = await register(server.hostname, server.port, '', options.endpoint);
    fixLocation(device);
    reportOperations(device);
    event('registered', { location: device.location });
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, ...words] = line.split(' ');
    if (Object.hasOwn(commands, name)) {
      await report(name, () => commands[name](...words));
    } else {
      event('error', { command: line, reason: 'no such command' });
    }
  }
  process.exit(0);
}

main();
