import NeuralNetwork
import Tensors
import Testing

/// Against PyTorch. The numbers come from Tests/Reference/make_networks.py, which computes them in double precision.
/// Tolerance: 1e-5 of the largest number of the tensor.
@Suite struct ReferenceTests {
    static let tolerance = 1e-5

    @Test func everyLayerHasAReference() throws {
        let models = try Reference.names().map { try Reference($0).model }
        let text = models.map(\.canonicalJSON).joined()
        // Dropout is random, and the softmaxes are not trained.
        for type in Layer.knownTypes where !["dropout", "softmax", "log_softmax"].contains(type) {
            #expect(text.contains("\"type\":\"\(type)\""), "no reference has a \(type)")
        }
        for loss in ["cross_entropy", "mse", "bce_with_logits", "l1", "huber"] {
            #expect(models.contains { $0.loss.name == loss }, "no reference has the loss \(loss)")
        }
    }

    @Test(arguments: try Reference.names())
    func outputsAndGradients(_ name: String) throws {
        let reference = try Reference(name)
        let options = try #require(reference.options.values.first)
        let probe = try Probe(
            reference.model, try reference.examples(), labelSmoothing: options.labelSmoothing)
        let batch = options.batchSize
        let loss = probe.loss(try reference.parameters("weights"), batch: batch)

        let expected = try reference.tensor("output").floats()
        #expect(relativeError(probe.outputs(batch: batch), expected) < Self.tolerance, "outputs")
        let firstLosses = try reference.options.keys.map { try reference.tensor("losses/\($0)").floats()[0] }
        #expect(relativeError([Float(loss)], [firstLosses[0]]) < Self.tolerance, "loss")

        // Where a model does something else when it is not trained.
        if reference.file["inference"] != nil {
            let weights = try Weights(model: reference.model, parameters: reference.parameters("weights"))
            let rows = Array(0..<batch)
            let answers = try Evaluator(model: reference.model).predict(weights, try reference.examples().subset(rows))
            #expect(
                relativeError(try answers.floats(), try reference.tensor("inference").floats()) < Self.tolerance,
                "inference")
        }

        let gradients = reference.model.slices(probe.gradients())
        for (actual, expected) in zip(gradients, reference.model.slices(try reference.parameters("gradient"))) {
            let error = relativeError(actual.values, expected.values)
            #expect(error < Self.tolerance, "gradient of \(actual.name)")
        }
    }

    @Test(arguments: try Reference.names())
    func tenOptimizerSteps(_ name: String) throws {
        let reference = try Reference(name)
        let weights = try Weights(model: reference.model, parameters: reference.parameters("weights"))
        for (optimizer, options) in reference.options.sorted(by: { $0.key < $1.key }) {
            let trainer = try Trainer(weights: weights, options: options)
            var losses: [Float] = []
            var before = 0.0
            var step = 0
            let result = try trainer.train(
                on: try reference.examples(), shouldStop: { step == 10 },
                onBatch: { progress in
                    // The loss of this batch alone, out of the mean so far.
                    let size = min(
                        options.batchSize,
                        progress.total - (progress.examples - 1) / options.batchSize * options.batchSize)
                    if progress.examples == size { before = 0 }
                    let sum = progress.loss * Double(progress.examples)
                    losses.append(Float((sum - before) / Double(size)))
                    before = sum
                    step = progress.step
                })
            #expect(result.steps == 10)
            #expect(!result.isComplete)
            let expected = try reference.tensor("losses/\(optimizer)").floats()
            #expect(relativeError(losses, expected) < Self.tolerance, "losses with \(optimizer)")
            let after = zip(
                reference.model.slices(trainer.weights.parameters),
                reference.model.slices(try reference.parameters(optimizer)))
            for (actual, expected) in after {
                let error = relativeError(actual.values, expected.values)
                #expect(error < Self.tolerance, "\(actual.name) after ten steps with \(optimizer)")
            }
        }
    }

    /// Each layer of the registry gives the same bits with any instruction set and number of threads.
    @Test(arguments: try Reference.names())
    func sameBitsEverywhere(_ name: String) throws {
        let reference = try Reference(name)
        let weights = try Weights(model: reference.model, parameters: reference.parameters("weights"))
        let options = try #require(reference.options["adam"])
        let examples = try reference.examples()
        func trained(_ instructionSet: InstructionSet, threads: Int) throws -> [UInt32] {
            let trainer = try Trainer(
                weights: weights, options: options, threads: threads, instructionSet: instructionSet)
            _ = try trainer.train(on: examples)
            return trainer.weights.parameters.map(\.bitPattern)
        }
        let expected = try trained(.portable, threads: 1)
        for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
            for threads in [1, 3] {
                #expect(
                    try trained(instructionSet, threads: threads) == expected, "\(instructionSet), \(threads) threads")
            }
        }
    }
}
