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
    let outputs: Int
    private let arrays: Arrays

    /// What is allocated for it, with the network.
    struct Arrays {
        /// [batch capacity], of a classifier.
        let labels: UnsafeMutablePointer<Int32>
        /// [batch capacity][outputs], of a regression.
        let values: UnsafeMutablePointer<Float>
        /// [batch capacity]
        let losses: UnsafeMutablePointer<Float>
        let correct: UnsafeMutablePointer<UInt8>

        init(_ model: ModelDescription, outputs: Int, in network: NetworkBuilder) throws(DeMLError) {
            let isRegression = model.loss == .meanSquaredError
            labels = try network.array(of: Int32.self, perExample: isRegression ? 0 : 1, for: .activations)
            values = try network.array(perExample: isRegression ? outputs : 0, for: .activations)
            losses = try network.array(perExample: 1, for: .activations)
            correct = try network.array(of: UInt8.self, perExample: 1, for: .activations)
        }
    }

    /// One a network: their arrays are the network's.
    package init(_ network: Network, labelSmoothing: Double) {
        self.network = network
        self.labelSmoothing = Float(labelSmoothing)
        outputs = network.output.size
        arrays = network.targets
    }

    /// Room for the targets of a batch: [batch capacity], of a classifier.
    var labels: UnsafeMutableBufferPointer<Int32> {
        UnsafeMutableBufferPointer(
            start: arrays.labels, count: network.model.loss == .crossEntropy ? network.batchCapacity : 0)
    }

    /// The same of a regression: [batch capacity][outputs].
    var values: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(
            start: arrays.values, count: network.model.loss == .crossEntropy ? 0 : network.batchCapacity * outputs)
    }

    /// Compares after the forward pass; writes the output's gradient where the network has one.
    package func compare() -> BatchResult {
        let pass = network.pass
        let output = network.output
        switch network.model.loss {
        case .crossEntropy:
            deml_cross_entropy(
                pass.pool, pass.batch, outputs, output.values, arrays.labels, labelSmoothing, arrays.losses,
                arrays.correct, output.gradient)
        case .meanSquaredError:
            deml_mean_squared_error(
                pass.pool, pass.batch, outputs, output.values, arrays.values, arrays.losses, output.gradient)
        }
        // In the order of the rows, so that the sum does not depend on threads.
        var result = BatchResult()
        for index in 0..<pass.batch {
            result.loss += Double(arrays.losses[index])
            result.correct += Int(arrays.correct[index])
        }
        return result
    }
}
