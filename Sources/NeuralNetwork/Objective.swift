import CKernels
import Tensors

/// The loss of a batch, and how many of its labels were right.
package struct BatchResult {
    /// Sum over the examples; where an example has a label for each of its tokens, the mean over the batch's labels times its
    /// examples.
    package var loss = 0.0
    /// Sum over the labels.
    package var labelLoss = 0.0
    package var correct = 0
    /// Labels that count: one an example, or its tokens' without those that are ignored.
    package var compared = 0
}

/// Compares a network's output with the targets of a batch: loss, and the gradient that goes back.
///
/// cross_entropy: -log softmax(logits)[label], averaged over the batch; with label smoothing s the target is 1-s for the
/// label plus s/classes for every class; with class weights w as torch's CrossEntropyLoss(weight: w, label_smoothing: s):
/// the terms of class c count w[c], and the sum is divided by that of the labels' weights. Of outputs [tokens, classes] each
/// token is compared with a label of its own, and labels that are -100 do not count. All other losses compare each
/// output with its target, averaged over batch and outputs.
package final class Objective {
    private let network: Network
    private let labelSmoothing: Float
    /// One a class; empty where all count the same.
    private let classWeights: [Float]
    let outputs: Int
    /// Of a classifier: labels an example, and classes.
    private let labelsPerExample: Int
    private let classes: Int
    private let arrays: Arrays

    /// What is allocated for it, with the network.
    struct Arrays {
        /// [batch capacity][labels an example], of a classifier.
        let labels: UnsafeMutablePointer<Int32>
        /// [batch capacity][outputs], where outputs are compared with numbers.
        let values: UnsafeMutablePointer<Float>
        /// As labels; [batch capacity] where there are none.
        let losses: UnsafeMutablePointer<Float>
        let correct: UnsafeMutablePointer<UInt8>

        init(_ model: ModelDescription, outputs: Int, in network: NetworkBuilder) throws(DeMLError) {
            let isRegression = model.loss != .crossEntropy
            let each = model.labelsPerExample
            labels = try network.array(of: Int32.self, perExample: isRegression ? 0 : each, for: .activations)
            values = try network.array(perExample: isRegression ? outputs : 0, for: .activations)
            losses = try network.array(perExample: each, for: .activations)
            correct = try network.array(of: UInt8.self, perExample: each, for: .activations)
        }
    }

    /// One a network: their arrays are the network's.
    package init(_ network: Network, labelSmoothing: Double, classWeights: [Double]? = nil) {
        self.network = network
        self.labelSmoothing = Float(labelSmoothing)
        self.classWeights = classWeights.map { $0.map { Float($0) } } ?? []
        outputs = network.output.size
        labelsPerExample = network.model.labelsPerExample
        classes = network.model.classes
        arrays = network.targets
    }

    /// Room for the targets of a batch: [batch capacity][labels an example], of a classifier.
    var labels: UnsafeMutableBufferPointer<Int32> {
        UnsafeMutableBufferPointer(
            start: arrays.labels,
            count: network.model.loss == .crossEntropy ? network.batchCapacity * labelsPerExample : 0)
    }

    /// Of each example of the batch that was compared last: [batch capacity].
    var losses: UnsafeMutablePointer<Float> { arrays.losses }

    /// The same of a regression: [batch capacity][outputs].
    var values: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(
            start: arrays.values, count: network.model.loss == .crossEntropy ? 0 : network.batchCapacity * outputs)
    }

    /// Compares after the forward pass; writes the output's gradient where the network has one.
    package func compare() -> BatchResult {
        let pass = network.pass
        let output = network.output
        if let (loss, delta) = network.model.loss.kernel {
            deml_compare_outputs(
                pass.pool, loss, delta, pass.batch, outputs, output.values, arrays.values, arrays.losses,
                output.gradient)
        } else if !classWeights.isEmpty {
            return compareWeighted()
        } else {
            deml_cross_entropy(
                pass.pool, pass.batch * labelsPerExample, classes, output.values, arrays.labels, labelSmoothing,
                arrays.losses, arrays.correct, output.gradient)
        }
        // In the order of the rows, so that the sum does not depend on threads.
        var result = BatchResult()
        for index in 0..<pass.batch * labelsPerExample {
            result.labelLoss += Double(arrays.losses[index])
            result.correct += Int(arrays.correct[index])
        }
        return counted(result, labelLoss: result.labelLoss)
    }

    /// With the labels that count, and the loss over the examples.
    private func counted(_ result: BatchResult, labelLoss: Double) -> BatchResult {
        var result = result
        let batch = network.pass.batch
        guard labelsPerExample > 1 else {
            result.loss = labelLoss
            result.compared = batch
            return result
        }
        for index in 0..<batch * labelsPerExample where arrays.labels[index] >= 0 { result.compared += 1 }
        result.loss = labelLoss / Double(max(1, result.compared)) * Double(batch)
        return result
    }

    /// The same with class weights. The loss that is told is torch's mean of the batch, times its examples. A batch of
    /// nothing but labels without weight, for which torch gives NaN, has no loss and no gradient.
    private func compareWeighted() -> BatchResult {
        let (pass, output) = (network.pass, network.output)
        let rows = pass.batch * labelsPerExample
        deml_cross_entropy(
            pass.pool, rows, classes, output.values, arrays.labels, 0, arrays.losses, arrays.correct, nil)
        if let dx = output.gradient { deml_softmax_forward(pass.pool, rows, classes, output.values, dx) }
        var total: Float = 0
        for index in 0..<rows where arrays.labels[index] >= 0 { total += classWeights[Int(arrays.labels[index])] }
        let scale = total > 0 ? 1 / total : 0
        let spread = labelSmoothing / Float(classes)
        var result = BatchResult()
        for index in 0..<rows {
            let label = Int(arrays.labels[index])
            guard label >= 0 else {
                if let dx = output.gradient { (dx + index * classes).update(repeating: 0, count: classes) }
                continue
            }
            let logits = output.values + index * classes
            // -log p of class c is log(sum of exp) - logits[c].
            let logSum = arrays.losses[index] + logits[label]
            var (loss, share): (Float, Float) = (0, 0)
            for other in 0..<classes {
                let target = classWeights[other] * (other == label ? 1 - labelSmoothing + spread : spread)
                if target > 0 { loss += target * (other == label ? arrays.losses[index] : logSum - logits[other]) }
                share += target
            }
            if let dx = output.gradient {
                let row = dx + index * classes
                for other in 0..<classes {
                    let target = classWeights[other] * (other == label ? 1 - labelSmoothing + spread : spread)
                    row[other] = (row[other] * share - target) * scale
                }
            }
            result.labelLoss += Double(loss)
            result.correct += Int(arrays.correct[index])
        }
        result = counted(result, labelLoss: 0)
        result.loss = result.labelLoss * (Double(scale) * Double(pass.batch))
        return result
    }
}
