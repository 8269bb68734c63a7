/// Mean and standard deviation (of the population) of numbers; the deviation of equal ones is 1.
package struct Spread {
    package let mean: Double
    package let deviation: Double

    package init(_ values: some Collection<Double>) {
        let mean = values.reduce(0, +) / Double(max(1, values.count))
        self.init(mean: mean, squares: values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }, count: values.count)
    }

    /// - Parameters:
    ///   - squares: of all differences from the mean, together.
    ///   - offset: what is to be added to the mean.
    private init(mean: Double, squares: Double, count: Int, offset: Double = 0) {
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
            four(Array(columns[first..<min(first + 4, columns.count)]), split)
        }
    }

    /// Of up to four columns side by side: a sum waits for its last addition, four do not wait for each other.
    private static func four(_ columns: [TableColumn], _ split: RowSplit) -> [Spread] {
        let all = (0..<4).map { columns[min($0, columns.count - 1)] }
        var (sums, counts) = (SIMD4<Double>(), SIMD4<Double>())
        eachRow(all, split) { values, isTaken in
            sums += SIMD4<Double>().replacing(with: values, where: isTaken)
            counts += SIMD4<Double>().replacing(with: 1, where: isTaken)
        }
        let means = sums / pointwiseMax(counts, SIMD4(repeating: 1))
        var squares = SIMD4<Double>()
        eachRow(all, split) { values, isTaken in
            let distance = values - means
            squares += SIMD4<Double>().replacing(with: distance * distance, where: isTaken)
        }
        return columns.indices.map { index in
            Spread(
                mean: means[index], squares: squares[index], count: Int(counts[index]), offset: columns[index].origin)
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
