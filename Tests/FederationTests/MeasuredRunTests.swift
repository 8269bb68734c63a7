import Datasets
import Federation
import Fleets
import Foundation
import NeuralNetwork
import Tensors
import TestSupport
import Testing

/// What a run tells of its model beside loss and accuracy.
@Suite struct MeasuredRunTests {
    @Test func everyRoundIsMeasured() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path + "/run")
        let summary = try await Run(plan, fleet: SimulatedFleet(threads: 1)).run()
        let rounds = try plan.folder.readMetrics()
        #expect(rounds.count == 4)
        for round in rounds {
            let metrics = try #require(round.metrics?.classification)
            #expect(metrics.accuracy == round.accuracy)
            #expect(metrics.classes.isEmpty, "what there is of each class is the summary's")
        }
        #expect(summary.metrics?.overall == rounds.last?.metrics)
        #expect(summary.metrics?.classification?.classes.map(\.support) == [50, 50, 50])
        #expect(try plan.folder.readSummary() == summary)
    }

    /// A folder of before has no metrics in its lines, and can be read and gone on with.
    @Test func aRunWithoutMetricsGoesOn() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path + "/run") { $0.federation.rounds = 1 }
        _ = try await Run(plan, fleet: SimulatedFleet(threads: 1)).run()
        let line = try #require(try plan.folder.readMetrics().last)
        var old = line
        old.metrics = nil
        let text = try RunJSON.line(old)
        #expect(!text.contains("metrics"))
        #expect(try RunJSON.decode(RoundMetrics.self, from: Array(text.utf8)) == old)
    }

    @Test func aRegressionIsMeasured() async throws {
        let scratch = try ScratchFolder()
        var random = SeededGenerator(seed: 3, purpose: "line")
        func part(_ count: Int) -> Dataset.Part {
            let x = (0..<count * 2).map { _ in Float(random.normal()) }
            let y = (0..<count).map { row -> Float in
                let (first, second) = (x[2 * row], x[2 * row + 1])
                return 2 * first - second + 1
            }
            return Dataset.Part(
                x: Tensor(shape: [count, 2], floats: x), y: Tensor(shape: [count, 1], floats: y))
        }
        let model = #"{"input":{"shape":[2]},"layers":[{"type":"linear","out_features":1}],"loss":"mse"}"#
        let configuration = try TinyProblem.configuration {
            $0.model.source = .description(try! ModelDescription(json: model))
            $0.training.localEpochs = 5
        }
        let plan = try RunPlan(
            configuration: configuration, dataset: try Dataset(name: "line", train: part(200), test: part(60)),
            folder: RunFolder(path: scratch.path + "/run"), threads: 1)
        let summary = try await Run(plan, fleet: SimulatedFleet(threads: 1)).run()
        let metrics = try #require(summary.metrics?.regression)
        #expect(try #require(metrics.r2) > 0.99)
        #expect(metrics.outputs.first?.points.count == 60)
        #expect(try plan.folder.readMetrics().allSatisfy { $0.metrics?.regression?.outputs.isEmpty == true })
    }
}
