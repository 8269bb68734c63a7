import NeuralNetwork
import Tensors
import Testing

/// What is special about batch_norm beside its numbers, which the reference and sweep tests have: its buffers.
@Suite struct BatchNormTests {
    static func model(_ shape: [Int] = [3]) throws -> ModelDescription {
        try ModelDescription(
            input: .init(shape: shape), layers: [.batchNorm(), .flatten, .linear(outFeatures: 2)], loss: .crossEntropy)
    }

    @Test func buffersAreNamedAndBeginAsTorchsDo() throws {
        let model = try Self.model()
        #expect(
            model.parameters.map(\.name)
                == ["0.weight", "0.bias", "0.running_mean", "0.running_var", "2.weight", "2.bias"])
        #expect(model.buffers == [6..<9, 9..<12])
        #expect(
            Array(Initializer.weights(for: model, seed: 1).parameters[..<12]) == [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    }

    /// A `state_dict()` of torch has a count that says nothing here; other tensors too many are refused still.
    @Test func countOfBatchesIsPassedOver() throws {
        let model = try Self.model()
        let weights = Initializer.weights(for: model, seed: 1)
        var file = weights.safetensors()
        file.tensors.append(("0.num_batches_tracked", Tensor(shape: [], int64s: [7])))
        #expect(try Weights(file) == weights)
        #expect(try WeightsFile(file).model == model)
        file.tensors.append(("2.num_batches_tracked", Tensor(shape: [], int64s: [7])))
        let error = #expect(throws: DeMLError.self) { try Weights(file) }
        #expect(error?.summary.contains("2.num_batches_tracked") == true)
    }

    /// Clipping, a proximal term, several batches a step and every optimiser leave the buffers alone: they are what the
    /// batches made them.
    @Test func noOptimizerChangesBuffers() throws {
        let model = try Self.model()
        var random = RandomSource("buffers")
        let examples = try random.examples(model, count: 24)
        let start = Initializer.weights(for: model, seed: 2)
        var buffers: [[Float]] = []
        for options in [
            TrainingOptions(batchSize: 4, optimizer: .sgd(learningRate: 0.1), shuffle: false),
            TrainingOptions(batchSize: 4, optimizer: .adamw(learningRate: 0.1, weightDecay: 1), shuffle: false),
            TrainingOptions(
                batchSize: 4, optimizer: .lion(learningRate: 0.1, weightDecay: 1), shuffle: false, clipGradNorm: 0.01,
                accumulateSteps: 2, proximalMu: 0.5),
        ] {
            let trainer = try Trainer(weights: start, options: options)
            _ = try trainer.train(on: examples)
            let after = trainer.weights.parameters
            buffers.append(Array(after[6..<12]))
            #expect(Array(after[..<6]) != Array(start.parameters[..<6]))
        }
        #expect(buffers[0] != Array(start.parameters[6..<12]))
        #expect(buffers[1] == buffers[0] && buffers[2] == buffers[0])
    }

    /// A batch of one number has no variance: torch refuses it, and so do we, before anything is trained.
    @Test(arguments: [(5, 4), (1, 4), (7, 1), (3, 3)])
    func batchesOfOneAreRefused(examples count: Int, batchSize: Int) throws {
        func train(_ model: ModelDescription) throws {
            var random = RandomSource("one")
            let options = TrainingOptions(batchSize: batchSize)
            _ = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
                .train(on: try random.examples(model, count: count))
        }
        try train(try Self.model([2, 3, 3]))
        guard count != 3 else { return try train(try Self.model()) }
        let error = #expect(throws: DeMLError.self) { try train(try Self.model()) }
        #expect(error?.code == .usage && error?.summary.contains("batch of 1") == true)
    }
}
