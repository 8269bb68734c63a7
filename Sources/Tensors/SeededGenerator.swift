/// Philox4x32-10, a counter-based random generator: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011. Every block of four words is a function of key and counter alone, so that any place of any stream
/// can be computed anywhere, in any order.
public enum Philox {
    /// The block of four words at `counter`.
    public static func block(key: UInt64, counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
        var key0 = UInt32(truncatingIfNeeded: key)
        var key1 = UInt32(truncatingIfNeeded: key >> 32)
        var c = counter
        for _ in 0..<10 {
            let product0 = UInt64(c[0]) * 0xD251_1F53
            let product1 = UInt64(c[2]) * 0xCD9E_8D57
            c = SIMD4(
                UInt32(truncatingIfNeeded: product1 >> 32) ^ c[1] ^ key0, UInt32(truncatingIfNeeded: product1),
                UInt32(truncatingIfNeeded: product0 >> 32) ^ c[3] ^ key1, UInt32(truncatingIfNeeded: product0))
            key0 &+= 0x9E37_79B9
            key1 &+= 0xBB67_AE85
        }
        return c
    }

    /// The key of a purpose under a seed: `mix(seed + mix(FNV-1a(purpose)))`, `mix` being splitmix64's finaliser.
    /// Streams of different purposes have nothing to do with each other.
    public static func key(seed: UInt64, purpose: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in purpose.utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
        }
        return mix(seed &+ mix(hash))
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

/// A random stream that depends on (seed, purpose, a, b, c) alone, the same on every machine.
///
/// Word `i` of the stream is word `i % 4` of Philox's block with the counter `(i / 4, a, b, c)`; the three numbers name
/// a stream within the purpose, such as epoch, step and layer. A stream has 2³² blocks.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    public let key: UInt64
    private var counter: SIMD4<UInt32>
    private var words = SIMD4<UInt32>()
    private var used = 4

    public init(seed: UInt64, purpose: String, _ a: UInt32 = 0, _ b: UInt32 = 0, _ c: UInt32 = 0) {
        key = Philox.key(seed: seed, purpose: purpose)
        counter = SIMD4(0, a, b, c)
    }

    /// The next 32 bits.
    public mutating func nextWord() -> UInt32 {
        if used == 4 {
            words = Philox.block(key: key, counter: counter)
            counter[0] &+= 1
            used = 0
        }
        defer { used += 1 }
        return words[used]
    }

    /// The next 64 bits: the earlier word is the lower half.
    public mutating func next() -> UInt64 {
        let low = UInt64(nextWord())
        return low | UInt64(nextWord()) << 32
    }

    /// Uniform in [0, 1), 53 bits.
    public mutating func uniform() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Uniform in [0, 1), the upper 24 bits of one word.
    public mutating func uniformFloat() -> Float {
        Float(nextWord() >> 8) * 0x1p-24
    }

    /// Uniform in 0 ..< bound, without bias (Lemire, "Fast random integer generation in an interval", 2019).
    public mutating func uniform(below bound: Int) -> Int {
        precondition(bound > 0, "the bound must be positive")
        let bound = UInt64(bound)
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let threshold = (0 &- bound) % bound
            while product.low < threshold {
                product = next().multipliedFullWidth(by: bound)
            }
        }
        return Int(product.high)
    }

    /// Standard normal, by Marsaglia's polar method.
    public mutating func normal() -> Double {
        while true {
            let x = 2 * uniform() - 1
            let y = 2 * uniform() - 1
            let radius = x * x + y * y
            if radius > 0 && radius < 1 {
                return x * (-2 * PortableMath.log(radius) / radius).squareRoot()
            }
        }
    }

    /// The logarithm of a gamma variate of the given shape and scale 1 (Marsaglia and Tsang, "A simple method for
    /// generating gamma variables", 2000). In logarithms, because with a small shape the variate itself underflows.
    public mutating func logGamma(shape: Double) -> Double {
        precondition(shape > 0 && shape.isFinite, "the shape of a gamma distribution is positive")
        if shape < 1 {
            let boosted = logGamma(shape: shape + 1)
            return boosted + PortableMath.log(1 - uniform()) / shape
        }
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = normal()
            let root = 1 + c * x
            guard root > 0 else { continue }
            let v = root * root * root
            let logV = PortableMath.log(v)
            if PortableMath.log(1 - uniform()) < 0.5 * x * x + d - d * v + d * logV {
                return PortableMath.log(d) + logV
            }
        }
    }

    /// A point of the symmetric Dirichlet distribution: `count` numbers >= 0 with sum 1.
    public mutating func dirichlet(alpha: Double, count: Int) -> [Double] {
        let logarithms = (0..<count).map { _ in logGamma(shape: alpha) }
        let largest = logarithms.max() ?? 0
        let weights = logarithms.map { PortableMath.exp($0 - largest) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
    }

    /// Fisher and Yates' shuffle, from the end down. Ours, because the standard library does not promise its order. (Inlinable, or each
    /// swap would look its element's type up: a fifteenth of an epoch of a small network.)
    @inlinable
    public mutating func shuffle<Element>(_ elements: inout [Element]) {
        guard elements.count > 1 else { return }
        for index in stride(from: elements.count - 1, to: 0, by: -1) {
            elements.swapAt(index, uniform(below: index + 1))
        }
    }

    /// 0 ..< count in random order.
    public mutating func permutation(_ count: Int) -> [Int] {
        var indices = Array(0..<count)
        shuffle(&indices)
        return indices
    }
}
