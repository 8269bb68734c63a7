import NeuralNetwork
import Tensors
import Testing

/// Clipping, accumulation, schedules and the proximal term. The numbers of PyTorch come from
/// Tests/Reference/make_training.py, in double precision; tolerance: 1e-5 of the largest number of the tensor.
@Suite struct TrainingOptionsTests {
    private static let tolerance = 1e-5

    @Test(arguments: try Reference.names(in: "training"))
    func asTorchTrains(_ name: String) throws {
        let reference = try Reference(name, in: "training")
        let weights = try Weights(model: reference.model, parameters: reference.parameters("weights"))
        #expect(reference.options.count == 13)
        for (way, options) in reference.options.sorted(by: { $0.key < $1.key }) {
            let trainer = try Trainer(weights: weights, options: options)
            let result = try trainer.train(on: try reference.examples())
            let rates = try reference.tensor("rates/\(way)")
            #expect(result.steps == rates.count, "\(way)")
            #expect(result.steps == options.epochs * options.stepsPerEpoch(examples: 47), "\(way)")
            #expect(result.samples == 94, "\(way)")
            let losses = result.epochs.map { Float($0.loss) }
            let expected = try reference.tensor("losses/\(way)").floats()
            #expect(relativeError(losses, expected) < Self.tolerance, "losses with \(way)")
            let after = zip(
                reference.model.slices(trainer.weights.parameters),
                reference.model.slices(try reference.parameters(way)))
            for (actual, expected) in after {
                let error = relativeError(actual.values, expected.values)
                #expect(error < Self.tolerance, "\(actual.name) after training with \(way)")
            }
            // The clipping that is compared does something, and so does everything else.
            let plain = try Trainer(
                weights: weights,
                options: TrainingOptions(
                    epochs: 2, batchSize: 6, optimizer: options.optimizer, shuffle: false))
            _ = try plain.train(on: try reference.examples())
            let change = relativeError(trainer.weights.parameters, plain.weights.parameters)
            #expect(way == "clip_never" ? change == 0 : change > 100 * Self.tolerance, "\(way)")
        }
    }

    @Test func ratesAreThoseOfTorch() throws {
        for name in try Reference.names(in: "training") {
            let reference = try Reference(name, in: "training")
            for (way, options) in reference.options {
                let stored = try reference.tensor("rates/\(way)")
                stored.withUnsafeBytes { bytes in
                    for step in 0..<stored.count {
                        let expected = bytes.loadUnaligned(fromByteOffset: step * 8, as: Double.self)
                        let rate = options.schedule.rate(options.optimizer.learningRate, at: step)
                        #expect(abs(rate - expected) <= 1e-14, "step \(step) of \(way)")
                    }
                }
            }
        }
    }

    /// A later job goes on with the schedule of an earlier one, and no number of steps is too large.
    @Test func schedulesGoOn() throws {
        for shape in [
            LearningRateSchedule.Shape.constant, .step(size: 7, gamma: 0.3), .cosine(steps: 30, minimum: 0.01),
        ] {
            let whole = LearningRateSchedule(shape, warmupSteps: 5)
            for first in [0, 3, 5, 20, 100] {
                let later = LearningRateSchedule(shape, warmupSteps: 5, firstStep: first)
                #expect((0..<20).map { later.rate(0.5, at: $0) } == (0..<20).map { whole.rate(0.5, at: first + $0) })
            }
            #expect(whole.rate(0.5, at: .max) >= 0)
            #expect(LearningRateSchedule(shape, firstStep: 1_000_000_000_000).rate(0.5, at: .max) >= 0)
        }
        #expect(LearningRateSchedule(.cosine(steps: 30, minimum: 0.01)).rate(0.5, at: 1_000_000) == 0.01)
    }

    /// Same bytes whatever the threads and the instruction set.
    @Test func bitExact() throws {
        let model = try BitExactnessTests.model("everything")
        var random = RandomSource("two passes")
        let examples = try random.examples(model, count: 43)
        let start = Initializer.weights(for: model, seed: 5)
        for optimizer in [OptimizerDescription.sgd(learningRate: 0.05, momentum: 0.9), .adam(learningRate: 0.01)] {
            let options = TrainingOptions(
                epochs: 2, batchSize: 5, optimizer: optimizer, seed: 9,
                schedule: .init(.cosine(steps: 5), warmupSteps: 2), clipGradNorm: 0.5, accumulateSteps: 2,
                proximalMu: 0.1)
            var expected: [UInt32]?
            for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
                for threads in [1, 2, 3, 5] {
                    let trainer = try Trainer(
                        weights: start, options: options, threads: threads, instructionSet: instructionSet)
                    _ = try trainer.train(on: examples)
                    let bits = trainer.weights.parameters.map(\.bitPattern)
                    #expect(bits == expected ?? bits, "\(instructionSet), \(threads) threads, \(optimizer.type)")
                    expected = bits
                }
            }
        }
    }

    /// The way over kept gradients is the fused one where nothing is done to them: no bit differs.
    @Test(arguments: ["mlp", "cnn", "everything"])
    func twoPassesAreOne(kind: String) throws {
        let model = try BitExactnessTests.model(kind)
        var random = RandomSource("fused")
        let examples = try random.examples(model, count: 43)
        let start = Initializer.weights(for: model, seed: 5)
        for optimizer in [
            OptimizerDescription.sgd(learningRate: 0.05),
            .sgd(learningRate: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01), .adam(weightDecay: 0.01),
            .adamw(), .rmsprop(), .rmsprop(momentum: 0.9), .lion(weightDecay: 0.1),
        ] {
            var results: [Weights] = []
            for norm in [nil, 1e30] {
                let options = TrainingOptions(
                    epochs: 2, batchSize: 5, optimizer: optimizer, seed: 9, schedule: .init(.step(size: 4)),
                    clipGradNorm: norm)
                let trainer = try Trainer(weights: start, options: options)
                _ = try trainer.train(on: examples)
                results.append(trainer.weights)
            }
            #expect(results[0] == results[1], "\(optimizer.type)")
        }
    }

    /// Training stops between steps only, and goes on there.
    @Test func stopsBetweenSteps() throws {
        let model = try BitExactnessTests.model("mlp")
        var random = RandomSource("steps")
        let examples = try random.examples(model, count: 31)
        let options = TrainingOptions(epochs: 2, batchSize: 4, accumulateSteps: 3)
        let whole = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
        var batches: [Int] = []
        let complete = try whole.train(on: examples, onBatch: { batches.append($0.step) })
        // Eight batches an epoch: 3 + 3 + 2.
        #expect(batches == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6])
        #expect(complete.steps == 6)
        let stopped = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: options)
        var results: [TrainingResult] = []
        repeat {
            results.append(try stopped.train(on: examples, shouldStop: { true }))
        } while results.last?.isComplete == false
        #expect(results.map(\.steps) == [1, 2, 3, 4, 5, 6])
        #expect(results.map(\.samples) == [12, 24, 31, 43, 55, 62])
        #expect(results.map { $0.epochs.map(\.examples) } == [[12], [24], [31], [31, 12], [31, 24], [31, 31]])
        #expect(results.last?.epochs.map(\.loss) == complete.epochs.map(\.loss))
        #expect(stopped.weights == whole.weights)
        // Stopped, it does not go on with another set.
        _ = try stopped.train(on: examples, shouldStop: { true })
        let error = #expect(throws: DeMLError.self) { try stopped.train(on: examples.subset([0, 1, 2])) }
        #expect(error?.code == .mismatch)
    }

    @Test func textsOfBeforeAreTheSame() throws {
        let before =
            #"{"batch_size":64,"epochs":1,"label_smoothing":0,"optimizer":{"learning_rate":0.01,"momentum":0,"#
            + #""nesterov":false,"type":"sgd","weight_decay":0},"seed":0,"shuffle":true}"#
        #expect(TrainingOptions().canonicalJSON == before)
        // Said in so many words, the defaults are the same options.
        let said = try TrainingOptions(
            json: #"{"schedule":{"type":"constant"},"accumulate_steps":1,"proximal_mu":0,"clip_grad_norm":null}"#)
        #expect(said == TrainingOptions())
        #expect(said.canonicalJSON == before)

        let all = TrainingOptions(
            optimizer: .sgd(learningRate: 0.5), schedule: .init(.cosine(steps: 90, minimum: 0.125), warmupSteps: 10),
            clipGradNorm: 2.5, accumulateSteps: 4, proximalMu: 0.25)
        #expect(
            all.canonicalJSON
                == #"{"accumulate_steps":4,"batch_size":64,"clip_grad_norm":2.5,"epochs":1,"label_smoothing":0,"#
                + #""optimizer":{"learning_rate":0.5,"momentum":0,"nesterov":false,"type":"sgd","weight_decay":0},"#
                + #""proximal_mu":0.25,"schedule":{"eta_min":0.125,"first_step":0,"#
                + #""start_factor":0.3333333333333333,"t_max":90,"type":"cosine","warmup_steps":10},"seed":0,"#
                + #""shuffle":true}"#)
        #expect(try TrainingOptions(json: all.canonicalJSON) == all)
        for shape in [LearningRateSchedule.Shape.constant, .step(size: 3), .step(size: 1, gamma: 1), .cosine(steps: 1)]
        {
            let options = TrainingOptions(
                schedule: .init(shape, warmupSteps: 3, startFactor: 0.25, firstStep: 7), clipGradNorm: 0.1)
            #expect(try TrainingOptions(json: options.canonicalJSON) == options)
        }
    }

    @Test(arguments: [
        #"{"clip_grad_norm":0}"#, #"{"clip_grad_norm":-1}"#, #"{"clip_grad_norm":1e300}"#, #"{"clip_grad_norm":"big"}"#,
        #"{"accumulate_steps":0}"#, #"{"accumulate_steps":1000001}"#, #"{"accumulate_steps":1.5}"#,
        #"{"proximal_mu":-0.1}"#, #"{"proximal_mu":1e39}"#, #"{"schedule":"cosine"}"#, #"{"schedule":{}}"#,
        #"{"schedule":{"type":"linear"}}"#, #"{"schedule":{"type":"step"}}"#,
        #"{"schedule":{"type":"step","step_size":0}}"#, #"{"schedule":{"type":"step","step_size":3,"gamma":0}}"#,
        #"{"schedule":{"type":"step","step_size":3,"gamma":1.5}}"#,
        #"{"schedule":{"type":"step","step_size":3,"t_max":4}}"#,
        #"{"schedule":{"type":"cosine"}}"#, #"{"schedule":{"type":"cosine","t_max":0}}"#,
        #"{"schedule":{"type":"cosine","t_max":5,"eta_min":-1}}"#,
        #"{"schedule":{"type":"cosine","t_max":5,"eta_min":0.02}}"#,
        #"{"schedule":{"type":"constant","warmup_steps":-1}}"#, #"{"schedule":{"type":"constant","start_factor":0.5}}"#,
        #"{"schedule":{"type":"constant","warmup_steps":5,"start_factor":2}}"#,
        #"{"schedule":{"type":"constant","first_step":9223372036854775807}}"#,
        #"{"optimizer":{"type":"adam","nesterov":true}}"#, #"{"optimizer":{"type":"adamw","momentum":0.1}}"#,
        #"{"optimizer":{"type":"sgd","epsilon":0.1}}"#, #"{"optimizer":{"learning_rate":0.1}}"#, #"{"optimizer":3}"#,
    ])
    func badOptionsAreRefused(_ json: String) {
        #expect(throws: DeMLError.self) { try TrainingOptions(json: json) }
    }
}
