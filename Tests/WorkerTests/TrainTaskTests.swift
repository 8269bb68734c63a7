import NeuralNetwork
import Tensors
import Testing
import Worker

@Suite struct TrainTaskTests {
    private let options = TrainingOptions(
        epochs: 3, batchSize: 8, optimizer: .sgd(learningRate: 0.1, momentum: 0.9), seed: 11)

    @Test func deliversWhatTheTrainerComputes() throws {
        try withFixture { fixture in
            let outcome = TrainTask(in: fixture.folder, options: options, threads: 2).run()
            #expect(outcome.error == nil)
            #expect(outcome.exitCode == 0)

            let shard = try Safetensors(contentsOf: fixture.folder.shard)
            let x = try #require(shard["x"])
            let y = try #require(shard["y"])
            let trainer = try Trainer(weights: fixture.weights, options: options, threads: 1)
            let result = try trainer.train(on: try Examples(x: x, y: y, for: fixture.model))

            let delta = try Delta(contentsOf: fixture.folder.delta, model: fixture.model)
            #expect(delta.parameters == trainer.weights.difference(from: fixture.weights))
            #expect(delta.parameters.contains { $0 != 0 })
            #expect(delta.examples == 50)
            #expect(delta.steps == 21)
            #expect(delta.steps == result.steps)
            #expect(delta.options == options)
            try delta.check(
                weightsSHA256: try Safetensors.digestOfContents(of: fixture.folder.weights),
                shardSHA256: try Safetensors.digestOfContents(of: fixture.folder.shard), options: options)

            let report = try Report(contentsOf: fixture.folder.report)
            #expect(report == outcome.report)
            #expect(report.status == .ok)
            #expect(report.deltaSHA256 == (try Safetensors.digestOfContents(of: fixture.folder.delta)))
            #expect(report.deltaSHA256 == delta.sha256)
            #expect(report.epochs?.map(\.loss) == result.epochs.map(\.loss))
            #expect(report.epochs?.map(\.accuracy) == result.epochs.map(\.accuracy))
            #expect(report.stoppedEarly == false)
            #expect(report.threads == 2)
            #expect(report.isa == InstructionSet.standard.rawValue)
        }
    }

    @Test func sameBytesWhateverTheThreadsAndInstructions() throws {
        try withFixture { fixture in
            var digests: Set<String> = []
            for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
                for threads in [1, 2, 3, 5] {
                    var task = TrainTask(in: fixture.folder, options: options, threads: threads)
                    task.instructionSet = instructionSet
                    let report = task.run().report
                    #expect(report.isa == instructionSet.rawValue)
                    digests.insert(try #require(report.deltaSHA256, "\(instructionSet), \(threads) threads"))
                }
            }
            #expect(digests.count == 1)
            var other = options
            other.seed = 12
            let report = TrainTask(in: fixture.folder, options: other).run().report
            #expect(!digests.contains(try #require(report.deltaSHA256)))
        }
    }

    @Test func timeLimitDeliversWhatWasDone() throws {
        try withFixture { fixture in
            var long = options
            long.epochs = 1_000_000
            let outcome = TrainTask(in: fixture.folder, options: long, threads: 1, maxSeconds: 0.05).run()
            #expect(outcome.error == nil)
            let delta = try Delta(contentsOf: fixture.folder.delta, model: fixture.model)
            #expect(outcome.report.stoppedEarly == true)
            #expect(outcome.report.steps == delta.steps)
            #expect(delta.steps >= 1)
            #expect(delta.steps < 7_000_000)

            // The number of steps is the true one: training exactly so long gives the same numbers.
            let shard = try Safetensors(contentsOf: fixture.folder.shard)
            let examples = try Examples(
                x: try #require(shard["x"]), y: try #require(shard["y"]), for: fixture.model)
            let trainer = try Trainer(weights: fixture.weights, options: long, threads: 1)
            // A step is a batch; `shouldStop` is asked after each.
            var batches = 0
            _ = try trainer.train(
                on: examples,
                shouldStop: {
                    batches >= delta.steps
                },
                onBatch: { _ in batches += 1 })
            #expect(trainer.weights.difference(from: fixture.weights) == delta.parameters)
        }
    }

    @Test func tellsEachEpochAndTheDigest() throws {
        try withFixture { fixture in
            var told: [TaskProgress] = []
            let outcome = TrainTask(in: fixture.folder, options: options).run { told.append($0) }
            #expect(told.count == 4)
            for (index, progress) in told.prefix(3).enumerated() {
                guard case .epoch(let number, let count, let loss, let accuracy, let rate) = progress else {
                    Issue.record("not an epoch: \(progress)")
                    continue
                }
                #expect(number == index + 1)
                #expect(count == 3)
                #expect(loss == outcome.report.epochs?[index].loss)
                #expect(accuracy == outcome.report.epochs?[index].accuracy)
                #expect(rate > 0)
            }
            #expect(told.last == outcome.report.deltaSHA256.map { .delta(sha256: $0) })
        }
    }

    @Test func errorsAreReportedWithTheirStage() throws {
        try withFixture { fixture in
            try Files.writeAtomically([1, 2, 3], to: fixture.folder.shard)
            let outcome = TrainTask(in: fixture.folder, options: options).run()
            #expect(outcome.exitCode == 65)
            let report = try Report(contentsOf: fixture.folder.report)
            #expect(report.status == .error)
            #expect(report.stage == "read-shard")
            #expect(report.file == fixture.folder.shard)
            #expect(report.message?.contains(fixture.folder.shard) == false)
            #expect(!Files.exists(fixture.folder.delta))

            try Files.remove(fixture.folder.weights)
            #expect(TrainTask(in: fixture.folder, options: options).run().exitCode == 66)
            #expect(try Report(contentsOf: fixture.folder.report).stage == "read-weights")

            var nowhere = TrainTask(in: fixture.folder, options: options)
            nowhere.reportPath = Files.path(fixture.folder.root, "nowhere/report.json")
            let silent = nowhere.run()
            #expect(silent.exitCode == 73)
            #expect(silent.report.stage == "write-report")
        }
    }

    @Test func divergenceDeliversNothing() throws {
        try withFixture { fixture in
            let wild = TrainingOptions(epochs: 5, batchSize: 8, optimizer: .sgd(learningRate: 1e30))
            let outcome = TrainTask(in: fixture.folder, options: wild).run()
            #expect(outcome.error?.code == .notFinite)
            #expect(outcome.exitCode == 65)
            #expect(outcome.report.stage == "train")
            #expect(!Files.exists(fixture.folder.delta))
        }
    }

    @Test func writesARunningReportFirst() throws {
        try withFixture { fixture in
            var first: Report?
            _ = TrainTask(in: fixture.folder, options: options).run { _ in
                first = first ?? (try? Report(contentsOf: fixture.folder.report))
            }
            #expect(first?.status == .running)
            #expect(first?.command == "train")
        }
    }
}
