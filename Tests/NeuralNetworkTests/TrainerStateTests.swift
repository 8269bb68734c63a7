import Foundation
import NeuralNetwork
import Tensors
import Testing

/// A training that is stopped anywhere and gone on with in another trainer gives the bytes of one that was not.
@Suite struct TrainerStateTests {
    static let ways: [(name: String, options: TrainingOptions)] = [
        ("sgd", TrainingOptions(optimizer: .sgd(learningRate: 0.05))),
        ("momentum", TrainingOptions(optimizer: .sgd(learningRate: 0.05, momentum: 0.9, nesterov: true))),
        ("adam", TrainingOptions(optimizer: .adam(learningRate: 0.01), labelSmoothing: 0.1)),
        ("adamw", TrainingOptions(optimizer: .adamw(learningRate: 0.01), shuffle: false)),
        ("schedule", TrainingOptions(schedule: .init(.cosine(steps: 12), warmupSteps: 3, firstStep: 2))),
        (
            "everything",
            TrainingOptions(
                optimizer: .adam(learningRate: 0.01), schedule: .init(.step(size: 3), warmupSteps: 2),
                clipGradNorm: 0.5, accumulateSteps: 2, proximalMu: 0.1)
        ),
        ("rmsprop", TrainingOptions(optimizer: .rmsprop(learningRate: 0.002, momentum: 0.5))),
        ("lion", TrainingOptions(optimizer: .lion(learningRate: 0.002))),
        // Two passes and a part of a third.
        ("steps", TrainingOptions(optimizer: .adamw(learningRate: 0.01), steps: 12)),
    ].map { name, options in
        var options = options
        if options.steps == nil { options.epochs = 3 }
        options.batchSize = 7
        options.seed = 5
        return (name, options)
    }

    private static func job(_ kind: String) throws -> (start: Weights, examples: Examples) {
        let model = try BitExactnessTests.model(kind)
        var random = RandomSource("state")
        return (Initializer.weights(for: model, seed: 4), try random.examples(model, count: 31))
    }

    @Test(arguments: ways.indices, ["mlp", "everything"])
    func goesOnAfterEveryStep(way: Int, kind: String) throws {
        let (name, options) = Self.ways[way]
        let (start, examples) = try Self.job(kind)
        let undisturbed = try Trainer(weights: start, options: options)
        let expected = try undisturbed.train(on: examples)
        #expect(expected.steps == options.steps(examples: 31))

        let folder = FileManager.default.temporaryDirectory.appending(path: "deml-state-\(UUID().uuidString)").path
        try Files.createDirectory(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var chain: TrainerState?
        for stop in 1..<expected.steps {
            // Stopped once, after `stop` steps …
            let first = try Trainer(weights: start, options: options)
            var steps = 0
            let part = try first.train(on: examples, shouldStop: { steps == stop }, onBatch: { steps = $0.step })
            #expect(part.steps == stop && !part.isComplete)
            let path = Files.path(folder, "\(stop).safetensors")
            try first.state.write(to: path)
            let state = try TrainerState(contentsOf: path)
            #expect(state == first.state)
            #expect(state.steps == stop)
            let second = try Trainer(weights: start, options: options, resuming: state, threads: 1 + stop % 3)
            #expect(second.state == state)
            #expect(second.weights == first.weights)
            var epochs = 0
            let result = try second.train(on: examples, onEpoch: { _ in epochs += 1 })
            #expect(second.weights == undisturbed.weights, "\(name), stopped after step \(stop)")
            #expect(result.isComplete && result.steps == expected.steps && result.samples == expected.samples)
            #expect(result.epochs.map(\.loss) == expected.epochs.map(\.loss))
            #expect(result.epochs.map(\.accuracy) == expected.epochs.map(\.accuracy))
            #expect(epochs == options.epochs(examples: 31) - state.epoch)

            // … and stopped after each step until here.
            let link = try Trainer(weights: start, options: options, resuming: chain)
            _ = try link.train(on: examples, shouldStop: { true })
            chain = try TrainerState(link.state.safetensors())
            #expect(chain?.weights == first.weights && chain?.steps == stop)
        }
        let last = try Trainer(weights: start, options: options, resuming: chain)
        #expect(try last.train(on: examples).isComplete)
        #expect(last.weights == undisturbed.weights)
        // What follows the end is the same too.
        _ = try last.train(on: examples)
        _ = try undisturbed.train(on: examples)
        #expect(last.weights == undisturbed.weights)
        #expect(last.state.steps == 0 && last.state.position.allEpochs == 6)
    }

    @Test func fileHasTorchsNames() throws {
        let (start, examples) = try Self.job("mlp")
        let trainer = try Trainer(weights: start, options: Self.ways[2].options)
        _ = try trainer.train(on: examples, shouldStop: { true })
        var state = trainer.state
        state.inputs = ["shard": "1f"]
        let file = state.safetensors()
        #expect(
            file.tensors.map(\.name).sorted() == [
                "1.bias", "1.weight", "4.bias", "4.weight", "state.1.bias.exp_avg", "state.1.bias.exp_avg_sq",
                "state.1.weight.exp_avg", "state.1.weight.exp_avg_sq", "state.4.bias.exp_avg",
                "state.4.bias.exp_avg_sq", "state.4.weight.exp_avg", "state.4.weight.exp_avg_sq",
            ])
        #expect(file["state.1.weight.exp_avg"]?.shape == [50, 144])
        #expect(try TrainerState(file) == state)
        #expect(try TrainerState(file).inputs == ["shard": "1f"])
        let momentum = try Trainer(weights: start, options: Self.ways[1].options).state.safetensors()
        #expect(try momentum["state.4.bias.momentum_buffer"]?.floats() == Array(repeating: 0, count: 10))
        // Without arrays of an optimiser it is a weights file.
        let plain = try Trainer(weights: start, options: Self.ways[0].options)
        #expect(try Weights(plain.state.safetensors()) == start)
    }

    /// Every change of a file is found, and a state is gone on with by its own training only.
    @Test func otherStatesAreRefused() throws {
        let (start, examples) = try Self.job("mlp")
        let options = Self.ways[2].options
        let trainer = try Trainer(weights: start, options: options)
        _ = try trainer.train(on: examples, shouldStop: { true })
        let state = trainer.state

        func code(_ change: (inout Safetensors) -> Void) -> DeMLError.Code? {
            var file = state.safetensors()
            change(&file)
            do throws(DeMLError) {
                _ = try TrainerState(file)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(code { _ in } == nil)
        #expect(code { $0.metadata[TrainerState.key] = nil } == .missing)
        #expect(code { $0.metadata[TrainerState.key]! += " " } == .mismatch)
        #expect(code { $0.metadata["deml.round"] = "7" } == .mismatch)
        #expect(code { $0["1.bias"] = nil } == .mismatch)
        #expect(code { $0["more"] = Tensor(shape: [1], floats: [1]) } == .mismatch)
        for (name, tensor) in state.safetensors().tensors {
            var bytes = [UInt8](tensor.withUnsafeBytes { Array($0) })
            bytes[bytes.count / 2] ^= 1
            let changed = try Tensor(dtype: tensor.dtype, shape: tensor.shape, bytes: bytes[...])
            #expect(code { $0[name] = changed } == .mismatch, "\(name)")
        }

        func refusal(
            _ weights: Weights, _ options: TrainingOptions, _ state: TrainerState
        ) -> DeMLError? {
            do throws(DeMLError) {
                _ = try Trainer(weights: weights, options: options, resuming: state)
                return nil
            } catch {
                return error
            }
        }
        #expect(refusal(start, options, state) == nil)
        for (index, way) in Self.ways.enumerated() where index != 2 {
            #expect(refusal(start, way.options, state)?.code == .mismatch, "\(way.name)")
        }
        let other = try Self.job("everything").start
        #expect(refusal(other, options, state)?.message.contains("another model") == true)
        let going = try Trainer(weights: start, options: options, resuming: state)
        let error = #expect(throws: DeMLError.self) { try going.train(on: examples.subset(Array(0..<30))) }
        #expect(error?.code == .mismatch)
    }

    /// A digest can be made by anybody: numbers that make no sense are refused.
    @Test func impossiblePositionsAreRefused() throws {
        let (start, examples) = try Self.job("mlp")
        let options = Self.ways[5].options
        let trainer = try Trainer(weights: start, options: options)
        var positions: [TrainingPosition] = []
        var result: TrainingResult
        repeat {
            positions.append(trainer.state.position)
            result = try trainer.train(on: examples, shouldStop: { true })
        } while !result.isComplete
        positions.append(trainer.state.position)
        #expect(positions.count == 10)
        #expect(positions.allSatisfy { $0.isPossible(options) })
        let fields: [WritableKeyPath<TrainingPosition, Int>] = [
            \.examples, \.allEpochs, \.allSteps, \.steps, \.samples, \.batches, \.seen, \.correct,
        ]
        for position in positions {
            for field in fields {
                for value in [-1, position[keyPath: field] &- 100, Int.min, Int.max] {
                    var changed = position
                    changed[keyPath: field] = value
                    #expect(!changed.isPossible(options), "\(field) = \(value)")
                }
            }
            for field in [\.seconds, \.lossSum, \.epochSeconds] as [WritableKeyPath<TrainingPosition, Double>] {
                var changed = position
                changed[keyPath: field] = .nan
                #expect(!changed.isPossible(options))
            }
            var changed = position
            changed.epochs += result.epochs
            #expect(!changed.isPossible(options))
        }
    }
}
