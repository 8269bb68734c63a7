import CKernels
import NeuralNetwork
import Tensors
import Testing

@Suite struct TrainerTests {
    private static func model(_ json: String) throws -> ModelDescription { try ModelDescription(json: json) }

    private static func mlp() throws -> ModelDescription {
        try model(
            #"{"input":{"shape":[2,5,4]},"layers":[{"type":"flatten"},{"type":"linear","out_features":19},"#
                + #"{"type":"relu"},{"type":"dropout","p":0.2},{"type":"linear","out_features":4}],"loss":"cross_entropy"}"#
        )
    }

    private static func cnn() throws -> ModelDescription {
        try ModelDescription(
            input: .init(shape: [3, 9, 8], mean: [0.1, 0, -0.1], standardDeviation: [1, 2, 1]),
            layers: [
                .conv2d(outChannels: 7, kernelSize: 3, padding: 1), .relu, .maxPool2d(.init(kernelSize: 2)),
                .groupNorm(groups: 1), .residual(layers: [.conv2d(outChannels: 7, kernelSize: 3, padding: 1), .gelu]),
                .averagePool2d(.init(kernelSize: 2)), .dropout(p: 0.1), .flatten, .layerNorm(), .sigmoid,
                .linear(outFeatures: 33), .tanh, .linear(outFeatures: 5), .softmax,
            ], loss: .crossEntropy)
    }

    private static func train(
        _ model: ModelDescription, _ options: TrainingOptions, threads: Int = 1, _ instructionSet: InstructionSet? = nil
    ) throws -> Weights {
        var random = RandomSource("training set")
        let trainer = try Trainer(
            weights: Initializer.weights(for: model, seed: 5), options: options, threads: threads,
            instructionSet: instructionSet)
        _ = try trainer.train(on: try random.examples(model, count: 43))
        return trainer.weights
    }

    /// Same bytes whatever the threads and the instruction set: design.md's rule, over batch sizes.
    @Test(arguments: [1, 3, 10, 43], ["mlp", "cnn"])
    func bitExact(batchSize: Int, kind: String) throws {
        let model = try kind == "mlp" ? Self.mlp() : Self.cnn()
        for optimizer in [OptimizerDescription.sgd(learningRate: 0.05, momentum: 0.9), .adam()] {
            let options = TrainingOptions(epochs: 2, batchSize: batchSize, optimizer: optimizer, seed: 9)
            let expected = try Self.train(model, options, threads: 1, .portable).parameters.map(\.bitPattern)
            for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
                for threads in [1, 2, 3, 5] {
                    let actual = try Self.train(model, options, threads: threads, instructionSet)
                    #expect(
                        actual.parameters.map(\.bitPattern) == expected,
                        "\(instructionSet), \(threads) threads, \(optimizer.type)")
                }
            }
        }
    }

    @Test func shuffledOrderIsTheSeededPermutation() throws {
        let model = try Self.model(
            #"{"input":{"shape":[3]},"layers":[{"type":"linear","out_features":2}],"loss":"cross_entropy"}"#)
        var random = RandomSource("shuffle")
        let examples = try random.examples(model, count: 23)
        let start = Initializer.weights(for: model, seed: 1)
        let options = TrainingOptions(epochs: 2, batchSize: 4, optimizer: .sgd(learningRate: 0.1), seed: 77)
        let shuffled = try Trainer(weights: start, options: options)
        _ = try shuffled.train(on: examples)

        var inOrder = options
        inOrder.shuffle = false
        inOrder.epochs = 1
        let followed = try Trainer(weights: start, options: inOrder)
        for epoch in 0..<2 {
            var generator = SeededGenerator(seed: 77, purpose: "shuffle", UInt32(epoch))
            _ = try followed.train(on: examples.subset(generator.permutation(23)))
        }
        #expect(followed.weights == shuffled.weights)
        #expect(try Self.train(model, options) != Self.train(model, inOrder))
    }

    /// A subset trains as the same rows copied do.
    @Test func subsetsShareData() throws {
        let model = try Self.cnn()
        var random = RandomSource("subset")
        let floats = random.normals(20 * 216)
        let x = Tensor(shape: [20, 3, 9, 8], floats: floats)
        let y = Tensor(shape: [20], int64s: (0..<20).map { Int64($0 % 5) })
        let rows = [3, 17, 0, 9, 9, 12]
        let view = try Examples(x: x, y: y, for: model).subset([5, 3, 17, 0, 9, 9, 12]).subset([1, 2, 3, 4, 5, 6])
        let copy = try Examples(x: x.gatherRows(rows), y: y.gatherRows(rows), for: model)
        #expect(view.count == 6)
        #expect(view.labels == copy.labels)
        var results: [Weights] = []
        for examples in [view, copy] {
            let trainer = try Trainer(
                weights: Initializer.weights(for: model, seed: 1), options: TrainingOptions(batchSize: 4))
            _ = try trainer.train(on: examples)
            results.append(trainer.weights)
            let whole = try evaluate(weights: trainer.weights, examples: examples, batchSize: 100)
            let inPieces = try evaluate(weights: trainer.weights, examples: examples, threads: 2, batchSize: 4)
            #expect(whole == inPieces)
        }
        #expect(results[0] == results[1])
    }

    @Test func stopsAfterTheBatch() throws {
        var random = RandomSource("stop")
        let model = try Self.mlp()
        let examples = try random.examples(model, count: 25)
        let options = TrainingOptions(epochs: 3, batchSize: 10)
        let trainer = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
        var seen = 0
        let result = try trainer.train(on: examples, shouldStop: { seen == 5 }, onBatch: { seen = $0.step })
        #expect(result.steps == 5)
        #expect(result.samples == 45)
        #expect(result.examples == 25)
        #expect(!result.isComplete)
        #expect(result.epochs.map(\.examples) == [25, 20])

        // The same steps as of an undisturbed run: the last batch of an epoch is smaller and counts.
        let whole = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
        var epochs: [EpochResult] = []
        let complete = try whole.train(on: examples, shouldStop: { false }, onEpoch: { epochs.append($0) })
        #expect(complete.steps == 9)
        #expect(complete.isComplete)
        #expect(complete.epochs == epochs)
        #expect(complete.epochs[0].loss == result.epochs[0].loss)
        // Asked to stop after the very last batch, nothing is missing.
        let last = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
        #expect(try last.train(on: examples, shouldStop: { seen == 9 }, onBatch: { seen = $0.step }).isComplete)
        #expect(last.weights == whole.weights)
    }

    @Test("steps end a training where they are done, in the pass that they have reached")
    func countsSteps() throws {
        let model = try Self.mlp()
        var random = RandomSource("counted steps")
        let examples = try random.examples(model, count: 20)
        let start = Initializer.weights(for: model, seed: 1)
        func trained(_ options: TrainingOptions) throws -> (weights: Weights, result: TrainingResult, told: [Int]) {
            let trainer = try Trainer(weights: start, options: options)
            var told: [Int] = []
            let result = try trainer.train(on: examples, onEpoch: { told.append($0.examples) })
            return (trainer.weights, result, told)
        }
        // Three batches an epoch: 8, 8 and 4.
        let twoPasses = try trained(TrainingOptions(epochs: 2, batchSize: 8, seed: 3))
        let sixSteps = try trained(TrainingOptions(batchSize: 8, seed: 3, steps: 6))
        #expect(sixSteps.weights == twoPasses.weights)
        #expect(sixSteps.result.samples == 40 && sixSteps.told == [20, 20])
        for (steps, told) in [(1, [8]), (2, [16]), (3, [20]), (4, [20, 8]), (8, [20, 20, 16])] {
            let options = TrainingOptions(batchSize: 8, seed: 3, steps: steps)
            let (_, result, epochs) = try trained(options)
            #expect(result.steps == steps && result.isComplete && epochs == told, "\(steps) steps")
            #expect(options.steps(examples: 20) == steps && options.epochs(examples: 20) == told.count)
        }
        let again = try TrainingOptions(json: TrainingOptions(steps: 500).canonicalJSON)
        #expect(again == TrainingOptions(steps: 500))
        #expect(throws: DeMLError.self) { try TrainingOptions(epochs: 2, steps: 500).validate() }
        #expect(throws: DeMLError.self) { try TrainingOptions(steps: 0).validate() }
    }

    @Test func learns() throws {
        let model = try Self.mlp()
        var random = RandomSource("learn")
        // The class is the largest of the first four numbers.
        let floats = random.normals(400 * 40)
        let labels = (0..<400).map { row in
            Int64((0..<4).max { floats[row * 40 + $0] < floats[row * 40 + $1] } ?? 0)
        }
        let examples = try Examples(
            x: Tensor(shape: [400, 2, 5, 4], floats: floats), y: Tensor(shape: [400], int64s: labels), for: model)
        let start = Initializer.weights(for: model, seed: 2)
        let before = try evaluate(weights: start, examples: examples)
        let trainer = try Trainer(
            weights: start, options: TrainingOptions(epochs: 30, batchSize: 20, optimizer: .adam(learningRate: 0.005)))
        let result = try trainer.train(on: examples)
        let after = try evaluate(weights: trainer.weights, examples: examples)
        #expect(try #require(before.accuracy) < 0.5)
        #expect(try #require(after.accuracy) > 0.95)
        #expect(result.epochs[29].loss < result.epochs[0].loss / 4)
        #expect(after.confusion.flatMap { $0 }.reduce(0, +) == 400)
        #expect(Double((0..<4).reduce(0) { $0 + after.confusion[$1][$1] }) / 400 == after.accuracy)
        for (label, row) in after.confusion.enumerated() {
            #expect(row.reduce(0, +) == labels.filter { $0 == label }.count, "row \(label)")
        }
        // Predictions say the same.
        let predictions = try predict(weights: trainer.weights, x: Tensor(shape: [400, 2, 5, 4], floats: floats))
        #expect(predictions.shape == [400, 4])
        let rows = try predictions.floats()
        let right = (0..<400).filter { row in
            let values = rows[row * 4..<row * 4 + 4]
            return values.max() == values[row * 4 + Int(labels[row])]
        }
        #expect(Double(right.count) / 400 == after.accuracy)
        #expect((0..<400).allSatisfy { abs(rows[$0 * 4..<$0 * 4 + 4].reduce(0, +) - 1) < 1e-5 })
    }

    @Test func divergenceIsAnError() throws {
        let model = try Self.model(
            #"{"input":{"shape":[3]},"layers":[{"type":"linear","out_features":8},{"type":"linear","out_features":1}],"loss":"mse"}"#
        )
        var random = RandomSource("diverge")
        let examples = try random.examples(model, count: 64)
        let trainer = try Trainer(
            weights: Initializer.weights(for: model, seed: 1),
            options: TrainingOptions(epochs: 100, batchSize: 8, optimizer: .sgd(learningRate: 50)))
        let error = #expect(throws: DeMLError.self) { try trainer.train(on: examples) }
        #expect(error?.code == .notFinite)
        #expect(error?.hint?.contains("learning rate") == true)
    }

    @Test func regressionHasNoAccuracy() throws {
        let model = try Self.model(
            #"{"input":{"shape":[3]},"layers":[{"type":"linear","out_features":1}],"loss":"mse"}"#)
        let x = Tensor(shape: [4, 3], floats: [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1])
        let examples = try Examples(x: x, y: Tensor(shape: [4], floats: [1, 2, 3, 6]), for: model)
        let trainer = try Trainer(
            weights: Initializer.weights(for: model, seed: 1),
            options: TrainingOptions(epochs: 300, batchSize: 4, optimizer: .sgd(learningRate: 0.3)))
        let result = try trainer.train(on: examples)
        #expect(result.epochs[299].accuracy == nil)
        #expect(result.epochs[299].loss < 1e-4)
        let evaluation = try evaluate(weights: trainer.weights, examples: examples)
        #expect(evaluation.accuracy == nil)
        #expect(evaluation.confusion.isEmpty)
        let predictions = try predict(weights: trainer.weights, x: x)
        #expect(predictions.shape == [4, 1])
        #expect(relativeError(try predictions.floats(), [1, 2, 3, 6]) < 0.01)
    }

    @Test func badSettingsAreRefused() throws {
        let model = try Self.mlp()
        let weights = Initializer.weights(for: model, seed: 1)
        func code(_ options: TrainingOptions, threads: Int = 1) -> DeMLError.Code? {
            do throws(DeMLError) {
                _ = try Trainer(weights: weights, options: options, threads: threads)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(code(TrainingOptions()) == nil)
        #expect(code(TrainingOptions(epochs: 0)) == .outOfRange)
        #expect(code(TrainingOptions(batchSize: -1)) == .outOfRange)
        #expect(code(TrainingOptions(labelSmoothing: 1)) == .outOfRange)
        #expect(code(TrainingOptions(optimizer: .sgd(learningRate: .nan))) == .outOfRange)
        #expect(code(TrainingOptions(optimizer: .sgd(learningRate: 1, nesterov: true))) == .usage)
        #expect(code(TrainingOptions(), threads: 0) == .usage)
    }

    /// A description may ask for more than any machine has: that is an error, not the end of the program.
    @Test func moreThanMemoryIsRefused() throws {
        let model = try Self.model(
            #"{"input":{"shape":[64,1024,1024]},"layers":[{"type":"tanh"},{"type":"global_avg_pool2d"},"#
                + #"{"type":"flatten"},{"type":"linear","out_features":2}],"loss":"cross_entropy"}"#)
        let error = #expect(throws: DeMLError.self) { try Evaluator(model: model, batchSize: 1 << 20) }
        #expect(error?.code == .tooLarge)
        #expect(error?.hint?.contains("batch") == true)
    }

    @Test func seededGeneratorIsTheKernels() {
        for number in 0..<50 {
            let n = UInt32(number)
            var random = deml_random(
                seed: 0x0123_4567_89ab_cdef &* UInt64(number + 1), purpose: n % 7, epoch: n &* 31, step: n &* 1_000_003,
                layer: n)
            var words: [UInt32] = [0, 0, 0, 0]
            deml_philox(&random, n &* 77_777, &words)
            let block = Philox.block(
                key: random.seed,
                counter: SIMD4(n &* 77_777, random.step, random.epoch, random.purpose << 24 | random.layer))
            #expect(words == (0..<4).map { block[$0] })
        }
    }

    /// About p of the numbers are dropped, the others scaled; another step drops others.
    @Test func dropoutDropsItsShare() throws {
        let model = try ModelDescription(
            input: .init(shape: [2000]), layers: [.dropout(p: 0.3)], loss: .meanSquaredError)
        let ones = Tensor(shape: [2, 2000], floats: Array(repeating: 1, count: 4000))
        let probe = try Probe(model, try Examples(x: ones, y: ones, for: model))
        _ = probe.loss([], batch: 2)
        let first = probe.outputs(batch: 2)
        let dropped = first.filter { $0 == 0 }.count
        #expect((1080...1320).contains(dropped))
        #expect(first.allSatisfy { $0 == 0 || abs($0 - 1 / 0.7) < 1e-6 })
        _ = probe.loss([], batch: 2)
        #expect(probe.outputs(batch: 2) == first)
        for change in [{ $0.step += 1 }, { $0.epoch += 1 }, { $0.seed += 1 }] as [(Pass) -> Void] {
            change(probe.network.pass)
            _ = probe.loss([], batch: 2)
            #expect(probe.outputs(batch: 2) != first)
        }
        // Evaluation drops nothing.
        let weights = Initializer.weights(for: model, seed: 0)
        #expect(try predict(weights: weights, x: ones).floats().allSatisfy { $0 == 1 })
    }
}
