import Datasets
import Federation
import Fleets
import Foundation
import NeuralNetwork
import Tensors
import TestSupport
import Testing

/// What is chosen by a validation set, and when a run ends by itself.
@Suite struct ValidationTests {
    @Test func theSetIsApartFromEverythingElse() throws {
        let dataset = try TinyProblem.dataset()
        let (rest, validation) = try dataset.splitValidation(fraction: 0.25)
        #expect(validation.count == 60 && rest.train.count == 180)
        #expect(rest.test == dataset.test)
        func rows(_ part: Dataset.Part) throws -> [[Float]] {
            let all = try part.x.floats()
            return (0..<part.count).map { Array(all[$0 * 8..<$0 * 8 + 8]) }
        }
        let all = Set(try rows(dataset.train))
        #expect(all.count == 240)
        let (kept, apart) = (Set(try rows(rest.train)), Set(try rows(validation)))
        #expect(kept.union(apart) == all && kept.isDisjoint(with: apart))
        #expect(try dataset.splitValidation(fraction: 0.25).validation == validation, "the same every time")
        #expect(try dataset.splitValidation(fraction: 0.0001).validation.count == 1)
        #expect(try dataset.splitValidation(fraction: 0.9999).dataset.train.count == 1)
        #expect(throws: DeMLError.self) { try dataset.splitValidation(fraction: .nan) }
    }

    @Test func theBestRoundIsChosenByIt() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path + "/run") {
            $0.data.validationFraction = 0.2
            $0.federation.rounds = 5
            $0.training.learningRate = 0.6
        }
        #expect(plan.parts.reduce(0) { $0 + $1.count } == 192)
        let log = EventLog()
        let summary = try await Run(plan, fleet: SimulatedFleet(threads: 1), onEvent: { log.add($0) }).run()
        let rounds = try plan.folder.readMetrics()
        let best = try #require(
            rounds.max {
                ($0.validationAccuracy ?? 0, -($0.validationLoss ?? 0), -$0.round)
                    < ($1.validationAccuracy ?? 0, -($1.validationLoss ?? 0), -$1.round)
            })
        #expect(summary.chosenOn == .validation && summary.bestRound == best.round)
        #expect(summary.bestValidationAccuracy == best.validationAccuracy)
        #expect(summary.bestValidationLoss == best.validationLoss)
        #expect(summary.bestAccuracy == best.accuracy && summary.bestLoss == best.loss, "what it is worth in the end")
        #expect(summary.endedBy == .rounds)
        #expect(
            try Files.read(plan.folder.best, maximumBytes: 1 << 20)
                == Files.read(plan.folder.weights(round: best.round), maximumBytes: 1 << 20))
        let started = log.events.compactMap { if case .runStarted(let run) = $0 { run } else { nil } }
        #expect(started.first?.validationExamples == 48 && started.first?.trainExamples == 192)
        // Rounds that were chosen by one set are never compared by the other.
        for round in rounds { #expect(round.chosenOn == .validation) }
    }

    /// A run without a validation set says that the test set was chosen by.
    @Test func withoutItTheTestSetIsNamed() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path + "/run")
        let summary = try await Run(plan, fleet: SimulatedFleet(threads: 1)).run()
        #expect(summary.chosenOn == .test && summary.bestValidationLoss == nil)
        #expect(try plan.folder.readMetrics().allSatisfy { $0.validationLoss == nil })
    }

    /// Nothing gets better at a learning rate of next to nothing: the run ends after so many rounds, and goes on where it is
    /// given more patience, to the bytes of a run that had it from the beginning.
    @Test func patienceEndsARun() async throws {
        let scratch = try ScratchFolder()
        func plan(_ name: String, patience: Int?, rounds: Int = 12) throws -> RunPlan {
            try TinyProblem.plan(scratch.path + "/" + name) {
                $0.data.validationFraction = 0.2
                $0.federation.patience = patience
                $0.federation.rounds = rounds
                $0.training.learningRate = 3
            }
        }
        let whole = try await Run(plan("whole", patience: nil), fleet: SimulatedFleet(threads: 1)).run()
        #expect(whole.rounds == 12 && whole.endedBy == .rounds)
        let short = try await Run(plan("short", patience: 2), fleet: SimulatedFleet(threads: 1)).run()
        #expect(short.endedBy == .patience && short.rounds == short.bestRound + 2 && short.rounds < 12)
        let resumed = try await Run(plan("short", patience: nil), fleet: SimulatedFleet(threads: 1), resume: true).run()
        #expect(resumed.rounds == 12 && resumed.modelSHA256 == whole.modelSHA256)
        #expect(resumed.bestRound == whole.bestRound && resumed.bestAccuracy == whole.bestAccuracy)
        #expect(resumed.bestValidationLoss == whole.bestValidationLoss)
    }

    @Test func classWeightsOfARun() async throws {
        #expect(
            try RunJSON.decode(TrainingSettings.Probe.self, from: Array(#"{"w":"balanced"}"#.utf8)).w == .balanced)
        #expect(
            try RunJSON.decode(TrainingSettings.Probe.self, from: Array(#"{"w":[1,2.5]}"#.utf8)).w == .given([1, 2.5]))
        #expect(throws: (any Error).self) {
            try RunJSON.decode(TrainingSettings.Probe.self, from: Array(#"{"w":"even"}"#.utf8))
        }
        let scratch = try ScratchFolder()
        func run(_ name: String, _ weights: ClassWeights?) async throws -> Summary {
            let plan = try TinyProblem.plan(scratch.path + "/" + name) { $0.training.classWeights = weights }
            return try await Run(plan, fleet: SimulatedFleet(threads: 1)).run()
        }
        // The problem has as many examples of each class: balanced weights are 1.
        let even = try await run("balanced", .balanced)
        #expect(try await run("ones", .given([1, 1, 1])).modelSHA256 == even.modelSHA256)
        #expect(try await run("heavy", .given([1, 1, 4])).modelSHA256 != even.modelSHA256)
        let error = await #expect(throws: DeMLError.self) { _ = try await run("few", .given([1, 2])) }
        #expect(error?.message.contains("2 numbers") == true)
    }

    /// A worker program augments as a simulated one does.
    @Test func augmentationIsTheSameInEveryFleet() async throws {
        let scratch = try ScratchFolder()
        func plan(_ name: String, _ augmentation: Augmentation?) throws -> RunPlan {
            try TinyProblem.plan(scratch.path + "/" + name) {
                $0.training.augmentation = augmentation
                $0.training.classWeights = .balanced
                $0.federation.rounds = 2
            }
        }
        let noise = Augmentation(noise: 0.2)
        let simulated = try await Run(plan("simulated", noise), fleet: SimulatedFleet(threads: 2)).run()
        let local = try await Run(
            plan("local", noise), fleet: LocalFleet(worker: builtWorker(), parallel: 2, threads: 1)
        ).run()
        #expect(local.modelSHA256 == simulated.modelSHA256)
        let plain = try await Run(plan("plain", nil), fleet: SimulatedFleet(threads: 2)).run()
        #expect(plain.modelSHA256 != simulated.modelSHA256)
        #expect(throws: DeMLError.self) { try plan("flip", Augmentation(flip: true)) }
    }
}

extension TrainingSettings {
    fileprivate struct Probe: Decodable {
        var w: ClassWeights?
    }
}
