// What is said of an app to which this and that happens.
Promise.all([import('./model.js'), import('./attention.js')])
        .then(([{Model}, a]) => {
          const m = new Model(), now = Date.now(), at = (s) => new Date(now - s * 1000).toISOString();
          const say = () => a.verdict(m, a.attention(m, now), now).head;
          const out = [say()];
          m.take({event: 'begin'});
          for (const path of ['shop', 'shop/a', 'shop/b'])
            m.take({event: 'snapshot', path, state: 'running', started_at: at(99), kind: path === 'shop' ? 'supervisor' : 'worker'});
          m.take({event: 'live', app: 'shop'});
          out.push(say());
          m.take({event: 'crashed', path: 'shop/a', incarnation: 1, at: at(3), exception: 'KeyError', message: 'x'});
          m.take({event: 'ruling', seq: 1, path: 'shop/a', incarnation: 1, at: at(3), kind: 'crashed',
            action: 'back_off', delay: 9, with: ['shop/b'], limit: {used: 1, of: 3, window: 60}});
          m.take({event: 'stopped', path: 'shop/b', incarnation: 1, at: at(3), down_because: {by: 'group', with: 'shop/a'}});
          const [item, more] = a.attention(m, now);
          out.push(say(), item.path, more === undefined, item.back.word, item.back.strong, item.limit.used, item.cause);
          m.take({event: 'restarted', path: 'shop/a', incarnation: 2, at: at(1)});
          m.take({event: 'restarted', path: 'shop/b', incarnation: 2, at: at(1)});
          m.take({event: 'crashed', path: 'shop/a', incarnation: 1, at: at(3)});
          out.push(say(), m.counts.running, m.nodes.get('shop/a').state);
          m.take({event: 'crashed', path: 'shop/a', incarnation: 2, at: at(0), exception: 'KeyError', message: 'x'});
          m.take({event: 'ruling', seq: 2, path: 'shop/a', incarnation: 2, at: at(0), kind: 'crashed', action: 'keep', with: []});
          out.push(say(), a.titleOf(m, 'shop'));
          m.take({event: 'left', path: 'shop/a'});
          out.push(m.nodes.size, m.counts.failed, m.worst(m.root));
          return out; })
