/// Mean and standard deviation (of the population) of numbers; the deviation of equal ones is 1.
package struct Spread {
    package let mean: Double
    package let deviation: Double

    package init(_ values: some Sequence<Double>) {
        self =
            Self.four([0]) { take in
                for value in values { take(SIMD4(repeating: value), SIMDMask(repeating: true)) }
            }[0]
    }

    /// - Parameters:
    ///   - squares: of all differences from the mean, together.
    ///   - offset: what is to be added to the mean.
    private init(mean: Double, squares: Double, count: Int, offset: Double) {
        let deviation = (squares / Double(max(1, count))).squareRoot()
        // What is left of equal values is rounding.
        let isConstant = !(deviation > abs(mean) * 1e-12) || deviation < 1e-30
        self.mean = count == 0 ? 0 : offset + mean
        self.deviation = isConstant ? 1 : deviation
    }
}

extension Spread {
    /// Of the training rows of columns of numbers, without the values that are missing.
    static func all(_ columns: [TableColumn], _ split: RowSplit) -> [Spread] {
        stride(from: 0, to: columns.count, by: 4).flatMap { first in
            let those = Array(columns[first..<min(first + 4, columns.count)])
            let all = (0..<4).map { those[min($0, those.count - 1)] }
            return four(those.map(\.origin)) { take in eachRow(all, split, take) }
        }
    }

    /// Of up to four columns side by side: a sum waits for its last addition, four do not wait for each other.
    /// - Parameters:
    ///   - offsets: of each column, what is to be added to its mean.
    ///   - eachRow: gives, twice, a number of each column, and which of them count.
    @inline(__always)
    private static func four(
        _ offsets: [Double], eachRow: ((SIMD4<Double>, SIMDMask<SIMD4<Int64>>) -> Void) -> Void
    ) -> [Spread] {
        var (sums, counts) = (SIMD4<Double>(), SIMD4<Double>())
        eachRow { values, isTaken in
            sums += SIMD4<Double>().replacing(with: values, where: isTaken)
            counts += SIMD4<Double>().replacing(with: 1, where: isTaken)
        }
        let means = sums / pointwiseMax(counts, SIMD4(repeating: 1))
        var squares = SIMD4<Double>()
        eachRow { values, isTaken in
            let distance = values - means
            squares += SIMD4<Double>().replacing(with: distance * distance, where: isTaken)
        }
        return offsets.indices.map { index in
            Spread(
                mean: means[index], squares: squares[index], count: Int(counts[index]), offset: offsets[index])
        }
    }

    /// Gives the stored numbers of each row, and which of them count. Without a branch: which rows are tested cannot be
    /// foreseen.
    @inline(__always)
    private static func eachRow(
        _ columns: [TableColumn], _ split: RowSplit, _ body: (SIMD4<Double>, SIMDMask<SIMD4<Int64>>) -> Void
    ) {
        let pieceRows = columns[0].pieceRows
        split.places.withUnsafeBufferPointer { places in
            for piece in 0..<columns[0].pieceCount {
                columns[0].withPiece(piece) { first in
                    columns[1].withPiece(piece) { second in
                        columns[2].withPiece(piece) { third in
                            columns[3].withPiece(piece) { fourth in
                                for row in 0..<first.count {
                                    let bits = SIMD4(first[row], second[row], third[row], fourth[row])
                                    let values = SIMD4<Double>(unsafeBitCast(bits, to: SIMD4<Float>.self))
                                    let isTrained = places[piece &* pieceRows &+ row] >= 0
                                    body(values, (values .== values) .& SIMDMask(repeating: isTrained))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
