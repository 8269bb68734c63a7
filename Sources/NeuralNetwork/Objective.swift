import CKernels
import Tensors

/// The loss of a batch, and how many of its examples were classified right.
package struct BatchResult {
    /// Sum over the examples.
    package var loss = 0.0
    package var correct = 0
}

/// Compares a network's output with the targets of a batch: loss, and the gradient that goes back.
///
/// cross_entropy: -log softmax(logits)[label], averaged over the batch; with label smoothing s the target is 1-s for the
/// label plus s/classes for every class. mse: (output - target)² averaged over batch and outputs.
package final class Objective {
    private let network: Network
    private let labelSmoothing: Float
    private let outputs: Int
    private let labels: UnsafeMutablePointer<Int32>
    private let values: UnsafeMutablePointer<Float>
    private let losses: UnsafeMutablePointer<Float>
    private let correct: UnsafeMutablePointer<UInt8>
    private let storage = Storage()

    package init(_ network: Network, labelSmoothing: Double) throws(DeMLError) {
        self.network = network
        self.labelSmoothing = Float(labelSmoothing)
        outputs = network.output.size
        let isRegression = network.model.loss == .meanSquaredError
        labels = try storage.allocate(Int32.self, isRegression ? 0 : network.batchCapacity)
        values = try storage.floats(isRegression ? network.batchCapacity * outputs : 0)
        losses = try storage.floats(network.batchCapacity)
        correct = try storage.allocate(UInt8.self, network.batchCapacity)
    }

    /// Takes the targets of the batch: rows `rows` of `targets` (nil: `first ..< first + count`).
    package func setTargets(_ targets: borrowing Examples.Targets, rows: UnsafePointer<Int64>?, first: Int, count: Int)
    {
        switch targets {
        case .labels(let all):
            all.withUnsafeBufferPointer { all in
                for index in 0..<count { labels[index] = all[rows.map { Int($0[index]) } ?? first + index] }
            }
        case .values(let all):
            all.withUnsafeBufferPointer { all in
                for index in 0..<count {
                    let row = rows.map { Int($0[index]) } ?? first + index
                    for output in 0..<outputs { values[index * outputs + output] = all[row * outputs + output] }
                }
            }
        }
    }

    /// Compares after the forward pass; writes the output's gradient where the network has one.
    package func compare() -> BatchResult {
        let pass = network.pass
        let output = network.output
        switch network.model.loss {
        case .crossEntropy:
            deml_cross_entropy(
                pass.pool, pass.batch, outputs, output.values, labels, labelSmoothing, losses, correct, output.gradient)
        case .meanSquaredError:
            deml_mean_squared_error(pass.pool, pass.batch, outputs, output.values, values, losses, output.gradient)
        }
        // In the order of the rows, so that the sum does not depend on threads.
        var result = BatchResult()
        for index in 0..<pass.batch {
            result.loss += Double(losses[index])
            result.correct += Int(correct[index])
        }
        return result
    }
}
