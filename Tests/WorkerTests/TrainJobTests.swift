import Jobs
import NeuralNetwork
import Tensors
import Testing
import Worker

@Suite struct TrainJobTests {
    private let options = TrainingOptions(
        epochs: 3, batchSize: 8, optimizer: .sgd(learningRate: 0.1, momentum: 0.9), seed: 11)

    @Test func deliversWhatTheTrainerComputes() throws {
        try withFixture { fixture in
            let outcome = fixture.folder.training(options, threads: 2).run()
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

            let receipt = try Receipt(contentsOf: fixture.folder.report)
            #expect(receipt == outcome.receipt)
            #expect(receipt.version == demlVersion && receipt.kernels == kernelsVersion)
            let training = try #require(receipt.training)
            #expect(training.digests.output == (try Safetensors.digestOfContents(of: fixture.folder.delta)))
            #expect(training.digests.output == delta.sha256)
            #expect(training.epochs.map(\.loss) == result.epochs.map(\.loss))
            #expect(training.epochs.map(\.accuracy) == result.epochs.map(\.accuracy))
            #expect(training.stoppedEarly == false)
            #expect(training.steps == 21)
            #expect(training.machine.threads == 2)
            #expect(training.machine.isa == InstructionSet.standard.rawValue)
        }
    }

    @Test func sameBytesWhateverTheThreadsAndInstructions() throws {
        try withFixture { fixture in
            var digests: Set<String> = []
            for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
                for threads in [1, 2, 3, 5] {
                    let job = fixture.folder.training(options, threads: threads)
                    let training = try #require(job.run(instructionSet: instructionSet).receipt.training)
                    #expect(training.machine.isa == instructionSet.rawValue)
                    digests.insert(try #require(training.digests.output, "\(instructionSet), \(threads) threads"))
                }
            }
            #expect(digests.count == 1)
            var other = options
            other.seed = 12
            let receipt = fixture.folder.training(other).run().receipt
            #expect(!digests.contains(try #require(receipt.digests?.output)))
        }
    }

    @Test func timeLimitDeliversWhatWasDone() throws {
        try withFixture { fixture in
            var long = options
            long.epochs = 1_000_000
            let outcome = fixture.folder.training(long, threads: 1, maxSeconds: 0.05).run()
            #expect(outcome.error == nil)
            let delta = try Delta(contentsOf: fixture.folder.delta, model: fixture.model)
            #expect(outcome.receipt.training?.stoppedEarly == true)
            #expect(outcome.receipt.training?.steps == delta.steps)
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
            var told: [ProgressLine] = []
            let outcome = fixture.folder.training(options).run { told.append($0) }
            #expect(told.count == 4)
            for (index, progress) in told.prefix(3).enumerated() {
                guard case .epoch(let epoch) = progress else {
                    Issue.record("not an epoch: \(progress)")
                    continue
                }
                #expect(epoch.epoch == index + 1)
                #expect(epoch.epochs == 3)
                #expect(epoch.loss == outcome.receipt.training?.epochs[index].loss)
                #expect(epoch.accuracy == outcome.receipt.training?.epochs[index].accuracy)
                #expect(epoch.samplesPerSecond > 0)
            }
            #expect(told.last == outcome.receipt.digests?.output.map { .delta(sha256: $0) })
        }
    }

    @Test func errorsAreReportedWithTheirStage() throws {
        try withFixture { fixture in
            try Files.writeAtomically([1, 2, 3], to: fixture.folder.shard)
            let outcome = fixture.folder.training(options).run()
            #expect(outcome.exitCode == 65)
            let refusal = try #require(try Receipt(contentsOf: fixture.folder.report).refusal)
            #expect(refusal.stage == "read-shard")
            #expect(refusal.file == fixture.folder.shard)
            #expect(!refusal.message.contains(fixture.folder.shard))
            #expect(!Files.exists(fixture.folder.delta))

            try Files.remove(fixture.folder.weights)
            #expect(fixture.folder.training(options).run().exitCode == 66)
            #expect(try Receipt(contentsOf: fixture.folder.report).refusal?.stage == "read-weights")

            var nowhere = fixture.folder.training(options)
            nowhere.report = Files.path(fixture.folder.root, "nowhere/report.json")
            let silent = nowhere.run()
            #expect(silent.exitCode == 73)
            #expect(silent.receipt.refusal?.stage == "write-report")
        }
    }

    @Test func divergenceDeliversNothing() throws {
        try withFixture { fixture in
            let wild = TrainingOptions(epochs: 5, batchSize: 8, optimizer: .sgd(learningRate: 1e30))
            let outcome = fixture.folder.training(wild).run()
            #expect(outcome.error?.code == .notFinite)
            #expect(outcome.exitCode == 65)
            #expect(outcome.receipt.refusal?.stage == "train")
            #expect(!Files.exists(fixture.folder.delta))
        }
    }

    @Test func writesARunningReportFirst() throws {
        try withFixture { fixture in
            var first: Receipt?
            _ = fixture.folder.training(options).run { _ in
                first = first ?? (try? Receipt(contentsOf: fixture.folder.report))
            }
            #expect(first?.isRunning == true)
            #expect(first?.command == "train")
        }
    }

    @Test func refusesAnInputThatIsNotTheJobs() throws {
        try withFixture { fixture in
            let right = try Safetensors.digestOfContents(of: fixture.folder.weights)
            var job = fixture.folder.training(options)
            job.inputs[.weights]?.sha256 = right
            #expect(job.run().error == nil)
            for (role, stage) in [(WorkerJob.Role.weights, "read-weights"), (.shard, "read-shard")] {
                var wrong = job
                wrong.inputs[role]?.sha256 = String(repeating: "a", count: 64)
                let outcome = wrong.run()
                #expect(outcome.exitCode == 65 && outcome.error?.code == .mismatch)
                #expect(outcome.receipt.refusal?.stage == stage)
            }
        }
    }

    @Test func partialWorkThatNobodyAskedForIsNotDelivered() throws {
        try withFixture { fixture in
            var long = options
            long.epochs = 1_000_000
            var job = fixture.folder.training(long, threads: 1, maxSeconds: 0.05)
            job.limits.allowsPartialWork = false
            let outcome = job.run()
            #expect(outcome.error?.code == .timedOut)
            #expect(outcome.receipt.refusal?.stage == "train")
            #expect(!Files.exists(fixture.folder.delta))
        }
    }
}
