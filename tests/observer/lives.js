// How a service fares while somebody looks, and what its line says of that: seconds ago, rounded.
Promise.all([import('./model.js'), import('./lives.js'), import('./lifeline.js')])
  .then(([{ Model }, l, { shape }]) => {
    const m = new Model(), now = Date.now(), at = (s) => new Date(now - s * 1000).toISOString();
    const line = () => shape(m.nodes.get('shop/a'), now - 100_000, now, 100).segments.map(([a, b, kind]) => [Math.round(a), Math.round(b), kind]);
    const out = [];
    m.take({ event: 'begin' });
    m.take({ event: 'snapshot', path: 'shop', state: 'running', started_at: at(900), kind: 'supervisor' });
    m.take({ event: 'snapshot', path: 'shop/a', state: 'running', incarnation: 2, restarts: 1, started_at: at(80) });
    m.take({ event: 'live', app: 'shop' });
    m.history({ from: at(100), now: at(60), lives: { 'shop/a': [[0, 10, 'running', 'crashed'], [10, 20, 'restarting', null], [20, null, 'running', null]] } });
    out.push(line());
    m.take({ event: 'crashed', path: 'shop/a', incarnation: 2, at: at(50), exception: 'KeyError', message: 'x' });
    out.push(line());
    m.take({ event: 'restarted', path: 'shop/a', incarnation: 3, at: at(40) });
    m.take({ event: 'crashed', path: 'shop/a', incarnation: 3, at: at(30), exception: 'KeyError', message: 'x' });
    // An answer that was asked for before that, and comes after it.
    m.history({ from: at(100), now: at(45), lives: { 'shop/a': [[0, 10, 'running', 'crashed'], [10, 20, 'restarting', null], [20, 50, 'running', 'crashed'], [50, null, 'restarting', null]] } });
    m.take({ event: 'restarted', path: 'shop/a', incarnation: 4, at: at(10) });
    out.push(line());
    const up = l.upSince(m.nodes.get('shop/a'), now - 100_000, now);
    out.push(Math.round(up.share * 100), l.upSince(m.nodes.get('shop'), now - 100_000, now).share);
    m.take({ event: 'snapshot', path: 'shop/b', state: 'running', restarts: 4, started_at: at(5) });
    out.push(l.upSince(m.nodes.get('shop/b'), now - 100_000, now)); // what was before is a guess
    m.past([{ seq: 1, path: 'shop/b', incarnation: 1, at: at(4), kind: 'crashed', action: 'back_off', delay: 2, with: [] }]);
    out.push(m.lastRestart.path, Math.round((now - m.lastRestart.at) / 1000));
    return out;
  })
