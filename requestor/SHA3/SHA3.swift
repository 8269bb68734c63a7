/// SHA3 (FIPS 202). Golem uses SHA3-224 for images and SHA3-256 for transfers; the crypto packages offer the second
/// only, so both are here, over one Keccak-f[1600].
public struct SHA3: Sendable {
    /// Digest length in bytes: 28 or 32.
    public let digestLength: Int

    private var state = [UInt64](repeating: 0, count: 25)
    private var pending: [UInt8] = []
    private let rate: Int

    public static func bits224() -> SHA3 { SHA3(digestLength: 28) }
    public static func bits256() -> SHA3 { SHA3(digestLength: 32) }

    private init(digestLength: Int) {
        self.digestLength = digestLength
        rate = 200 - 2 * digestLength
        pending.reserveCapacity(rate)
    }

    public mutating func update(_ data: some Collection<UInt8>) {
        let done: Void? = data.withContiguousStorageIfAvailable { update(UnsafeRawBufferPointer($0)) }
        if done == nil { Array(data).withUnsafeBytes { update($0) } }
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var bytes = bytes[...]
        if !pending.isEmpty {
            let take = min(rate - pending.count, bytes.count)
            pending += bytes.prefix(take)
            bytes = bytes.dropFirst(take)
            guard pending.count == rate else { return }
            pending.withUnsafeBytes { SHA3.absorb($0, into: &state) }
            pending.removeAll(keepingCapacity: true)
        }
        while bytes.count >= rate {
            SHA3.absorb(UnsafeRawBufferPointer(rebasing: bytes.prefix(rate)), into: &state)
            bytes = bytes.dropFirst(rate)
        }
        pending += bytes
    }

    /// The digest of all that came so far; the value itself is unchanged.
    public func digest() -> [UInt8] {
        var last = pending
        last.append(0x06)
        last += [UInt8](repeating: 0, count: rate - last.count)
        last[rate - 1] |= 0x80
        var state = state
        last.withUnsafeBytes { SHA3.absorb($0, into: &state) }
        var out: [UInt8] = []
        for word in state.prefix((digestLength + 7) / 8) {
            for shift in stride(from: 0, to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
        }
        return Array(out.prefix(digestLength))
    }

    /// Lower-case hex of the digest.
    public func hexDigest() -> String { hexText(digest()) }

    public static func hash256(_ data: some Collection<UInt8>) -> String {
        var hash = bits256()
        hash.update(data)
        return hash.hexDigest()
    }

    public static func hash224(_ data: some Collection<UInt8>) -> String {
        var hash = bits224()
        hash.update(data)
        return hash.hexDigest()
    }

    private static func absorb(_ block: UnsafeRawBufferPointer, into state: inout [UInt64]) {
        state.withUnsafeMutableBufferPointer { lanes in
            for index in 0..<block.count / 8 {
                lanes[index] ^= UInt64(littleEndian: block.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
            permute(lanes)
        }
    }

    /// Keccak-f[1600]: 24 rounds of θ, ρ, π, χ, ι.
    private static func permute(_ a: UnsafeMutableBufferPointer<UInt64>) {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 30) { scratch in
            let b = UnsafeMutableBufferPointer(rebasing: scratch[0..<25])
            let c = UnsafeMutableBufferPointer(rebasing: scratch[25..<30])
            for round in 0..<24 {
                for x in 0..<5 { c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] }
                for x in 0..<5 {
                    let left = c[x == 0 ? 4 : x - 1]
                    let right = c[x == 4 ? 0 : x + 1]
                    let d = left ^ (right << 1 | right >> 63)
                    for y in stride(from: x, to: 25, by: 5) { a[y] ^= d }
                }
                for index in 0..<25 {
                    let shift = rotations[index]
                    let value = a[index]
                    b[targets[index]] = shift == 0 ? value : value << shift | value >> (64 - shift)
                }
                for y in stride(from: 0, to: 25, by: 5) {
                    let b0 = b[y]
                    let b1 = b[y + 1]
                    let b2 = b[y + 2]
                    let b3 = b[y + 3]
                    let b4 = b[y + 4]
                    a[y] = b0 ^ (~b1 & b2)
                    a[y + 1] = b1 ^ (~b2 & b3)
                    a[y + 2] = b2 ^ (~b3 & b4)
                    a[y + 3] = b3 ^ (~b4 & b0)
                    a[y + 4] = b4 ^ (~b0 & b1)
                }
                a[0] ^= roundConstants[round]
            }
        }
    }

    // Lane (x, y) stands at x + 5y; π moves it to (y, 2x + 3y).
    private static let targets: [Int] = (0..<25).map { index in
        let (x, y) = (index % 5, index / 5)
        return y + 5 * ((2 * x + 3 * y) % 5)
    }

    private static let rotations: [UInt64] = {
        var table = [UInt64](repeating: 0, count: 25)
        var (x, y) = (1, 0)
        for step in 0..<24 {
            table[x + 5 * y] = UInt64((step + 1) * (step + 2) / 2 % 64)
            (x, y) = (y, (2 * x + 3 * y) % 5)
        }
        return table
    }()

    private static let roundConstants: [UInt64] = {
        var constants: [UInt64] = []
        var register: UInt8 = 1
        for _ in 0..<24 {
            var constant: UInt64 = 0
            for power in 0..<7 {
                if register & 1 == 1 { constant |= 1 << UInt64((1 << power) - 1) }
                register = register & 0x80 != 0 ? register << 1 ^ 0x71 : register << 1
            }
            constants.append(constant)
        }
        return constants
    }()
}

/// Lower-case hex.
package func hexText(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var out: [UInt8] = []
    for byte in bytes {
        out.append(digits[Int(byte >> 4)])
        out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
}
