/// Adds up a regression's errors, batch by batch, and makes ``RegressionMetrics`` of them. Its memory does not grow with
/// the number of examples.
package struct RegressionCounter {
    /// Examples of an output that are kept for a plot at most, and outputs that are plotted.
    package static let mostPoints = 400
    package static let mostPlots = 4

    private var outputs: [Output]
    private let stride: Int
    private var count = 0

    /// Sums of one output.
    private struct Output {
        var squares = 0.0
        var distances = 0.0
        /// Of the targets, and the sum of their squared distances to it (Welford, 1962).
        var mean = 0.0
        var spread = 0.0
        var points: [OutputMetrics.Point] = []
    }

    /// - Parameter examples: how many there will be.
    package init(outputs: Int, examples: Int) {
        self.outputs = [Output](repeating: Output(), count: outputs)
        stride = max(1, (examples + Self.mostPoints - 1) / Self.mostPoints)
    }

    /// Adds an example: what was to be predicted, and what was.
    package mutating func add(targets: UnsafePointer<Float>, predicted: UnsafePointer<Float>) {
        for index in outputs.indices {
            let target = Double(targets[index])
            let error = Double(predicted[index]) - target
            outputs[index].squares += error * error
            outputs[index].distances += abs(error)
            let distance = target - outputs[index].mean
            outputs[index].mean += distance / Double(count + 1)
            outputs[index].spread += distance * (target - outputs[index].mean)
            if count % stride == 0, index < Self.mostPlots {
                outputs[index].points.append(.init(target: targets[index], predicted: predicted[index]))
            }
        }
        count += 1
    }

    /// Of all examples that were added, at least one.
    package func metrics() -> RegressionMetrics {
        precondition(count > 0, "metrics of no examples")
        let rows = outputs.map { output in
            let mse = output.squares / Double(count)
            return OutputMetrics(
                mse: mse, rmse: mse.squareRoot(), mae: output.distances / Double(count), r2: r2(output),
                points: output.points)
        }
        func mean(_ value: (OutputMetrics) -> Double) -> Double {
            rows.reduce(0) { $0 + value($1) } / Double(rows.count)
        }
        return RegressionMetrics(
            mse: mean(\.mse), rmse: mean(\.rmse), mae: mean(\.mae), r2: count < 2 ? nil : mean { $0.r2 ?? 0 },
            outputs: rows)
    }

    private func r2(_ output: Output) -> Double? {
        guard count > 1 else { return nil }
        guard output.spread > 0 else { return output.squares == 0 ? 1 : 0 }
        return 1 - output.squares / output.spread
    }
}
