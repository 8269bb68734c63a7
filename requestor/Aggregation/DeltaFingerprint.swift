import Tensors

/// What is kept of a delta after it has gone into the average: enough to know it again, to see whether it is like others,
/// and to compare it with what home computes.
package struct DeltaFingerprint: Sendable, Equatable {
    /// SHA-256 of the values, 4 bytes each: the same for the same work on every machine.
    package var digest: String
    /// Euclidean norm.
    package var norm: Double
    /// A projection of the values to ``width`` numbers, of length 1, or 0 for a delta of zeros. The cosine of two sketches
    /// is that of the deltas, give or take `1 / sqrt(width)`: Charikar, Chen, Farach-Colton, "Finding Frequent Items in
    /// Data Streams" (count sketch), ICALP 2002.
    package var sketch: [Double]

    package static let width = 256

    /// Of something that is compared by its digest alone.
    package init(digest: String) {
        self.digest = digest
        norm = 0
        sketch = []
    }

    /// - Parameters:
    ///   - values: shape `[parameters]`.
    ///   - key: of the projection. Nobody outside may know it, or deltas could be made that look alike and are not.
    package init(_ values: [Float], key: UInt64) {
        var hash = SHA256Digest()
        var sums = [Double](repeating: 0, count: Self.width)
        var squares = 0.0
        values.withUnsafeBufferPointer { values in
            hash.update(UnsafeRawBufferPointer(values))
            sums.withUnsafeMutableBufferPointer { sums in
                var start = 0
                var block: UInt64 = 0
                while start < values.count {
                    // 64 values share a hash: a sign each, and a quarter of the sketch together.
                    let signs = Self.mixed(key &+ block)
                    let quarter = Int(Self.mixed(signs ^ key) & 3) * 64
                    let count = min(64, values.count - start)
                    for index in 0..<count {
                        let value = Double(values[start + index])
                        squares += value * value
                        sums[quarter + index] += signs >> UInt64(index) & 1 == 0 ? value : -value
                    }
                    start += count
                    block += 1
                }
            }
        }
        digest = hash.hex()
        norm = squares.squareRoot()
        let length = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
        sketch = length > 0 && length.isFinite ? sums.map { $0 / length } : [Double](repeating: 0, count: Self.width)
    }

    /// The cosine between this delta and a sum of sketches, about; nil where one of them is zero.
    package func cosine(to sum: [Double]) -> Double? {
        let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard length > 0, norm > 0 else { return nil }
        return zip(sketch, sum).reduce(0) { $0 + $1.0 * $1.1 } / length
    }

    /// SplitMix64's output function: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
