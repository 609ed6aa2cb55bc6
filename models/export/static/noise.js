// The server's noise: torch's generator on a processor is a Mersenne twister (mt19937), and `torch.rand` takes the low
// 24 bits of each of its numbers. The same seed gives the same noise here.
class Generator {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed % 4294967296;   // a negative one wraps, as in torch
    for (let i = 1; i < 624; i++) {
      const before = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, before) + i;
    }
    this.next = 624;
  }

  renew() {
    const s = this.state;
    for (let i = 0; i < 624; i++) {
      const mixed = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
      s[i] = s[(i + 397) % 624] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  bits() {
    if (this.next === 624) this.renew();
    let x = this.state[this.next++];
    x ^= x >>> 11;
    x ^= (x << 7) & 0x9d2c5680;
    x ^= (x << 15) & 0xefc60000;
    return (x ^ (x >>> 18)) >>> 0;
  }

  // as torch.rand: fp32 in [0, 1)
  uniform(count) {
    const made = new Float32Array(count);
    for (let i = 0; i < count; i++) made[i] = (this.bits() & 0xffffff) / 16777216;
    return made;
  }

  // each operation is rounded to fp32, as on the server
  gumbel(count) {
    const made = this.uniform(count), low = Math.fround(1e-20), high = Math.fround(1 - 1e-7);
    for (let i = 0; i < count; i++) {
      const u = Math.min(Math.max(made[i], low), high);
      made[i] = -Math.log(-Math.fround(Math.log(u)));
    }
    return made;
  }
}
