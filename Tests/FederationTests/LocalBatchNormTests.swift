import Federation
import Fleets
import Foundation
import NeuralNetwork
import Synchronization
import Tensors
import TestSupport
import Testing

/// Runs in which what batch_norm has learned and counted stays with each client.
@Suite struct LocalBatchNormTests {
    private static let model = """
        {"input": {"shape": [8]}, "layers": [{"type": "linear", "out_features": 6}, {"type": "batch_norm"},
         {"type": "residual", "layers": [{"type": "linear", "out_features": 6}, {"type": "batch_norm"}, {"type": "relu"}]},
         {"type": "linear", "out_features": 3}], "loss": "cross_entropy"}
        """

    private static let settings: @Sendable (inout RunConfiguration) -> Void = {
        $0.federation.rounds = 4
        $0.federation.fraction = 0.5
        $0.averaging.localBatchNorm = true
        $0.averaging.serverMomentum = 0.5
        $0.averaging.clipNorm = 0.2
        if let model = try? ModelDescription(json: model) { $0.model.source = .description(model) }
    }

    private func run(_ folder: String, resume: Bool = false, on fleet: (any Fleet)? = nil) async throws -> Summary {
        let plan = try TinyProblem.plan(folder, Self.settings)
        return try await Run(plan, fleet: fleet ?? SimulatedFleet(threads: 2), resume: resume).run()
    }

    /// What stays with each client after a round: all numbers of a client, one after the other.
    private func kept(_ folder: RunFolder, round: Int) throws -> [Int: [Float]] {
        let file = try Safetensors(contentsOf: folder.clientState(round: round))
        let values = try #require(file["values"])
        let numbers = try values.floats()
        let count = values.shape[1]
        let clients = try #require(file["clients"]).withUnsafeBytes { bytes in
            (0..<values.shape[0]).map { Int(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
        }
        return Dictionary(
            uniqueKeysWithValues: clients.enumerated().map {
                ($1, Array(numbers[$0 * count..<($0 + 1) * count]))
            })
    }

    private func weights(_ path: String) throws -> Weights { try Weights(Safetensors(contentsOf: path)) }

    /// Numbers of batch_norm, and all others.
    private func split(_ weights: Weights) throws -> (norms: [Float], others: [Float]) {
        let model = try ModelDescription(json: Self.model)
        let inside = Set(model.batchNorms.joined())
        #expect(model.batchNorms.count == 8 && inside.count == 2 * 4 * 6)
        let norms = inside.sorted().map { weights.parameters[$0] }
        return (norms, weights.parameters.indices.filter { !inside.contains($0) }.map { weights.parameters[$0] })
    }

    @Test("a client begins with the shared model and its own batch_norm, the shared model has their mean")
    func keeps() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        let given = Mutex<[String: Weights]>([:])
        let fleet = TroubledFleet(fleet: SimulatedFleet(threads: 1)) { attempt in
            guard case .weights(let weights)? = attempt.job.inputs[.weights] else { return }
            given.withLock { $0["\(attempt.round) \(attempt.client)"] = weights }
        }
        _ = try await run(scratch.path, on: fleet)
        let jobs = given.withLock { $0 }
        #expect(jobs.count == 8)
        var known: [Int: [Float]] = [:]
        var returned = 0
        for round in 1...4 {
            let shared = try split(weights(folder.weights(round: round - 1)))
            for client in 0..<4 {
                guard let job = jobs["\(round) \(client)"] else { continue }
                let begun = try split(job)
                #expect(begun.others == shared.others, "round \(round), client \(client)")
                #expect(begun.norms == known[client] ?? shared.norms, "round \(round), client \(client)")
                if known[client] != nil { returned += 1 }
            }
            let now = try kept(folder, round: round)
            for (client, values) in now where jobs["\(round) \(client)"] == nil {
                #expect(values == known[client], "who did not train keeps what it had")
            }
            known = now
            // All shards have 60 examples.
            var mean = [Double](repeating: 0, count: 48)
            for values in known.values {
                for place in 0..<48 { mean[place] += Double(values[place]) / Double(known.count) }
            }
            let after = try split(weights(folder.weights(round: round))).norms
            #expect(zip(after, mean).allSatisfy { abs(Double($0) - $1) < 1e-6 })
        }
        #expect(returned > 0 && Set(known.values.map { $0.map(\.bitPattern) }).count == known.count)
        for (client, values) in known {
            let own = try split(weights(folder.clientModel(client)))
            #expect(own.norms == values)
            #expect(try own.others == split(weights(folder.model)).others)
        }
    }

    @Test("stopped and resumed, or done by processes: the same bytes", arguments: [1, 3])
    func sameBytes(stopAfter: Int) async throws {
        let undisturbed = try ScratchFolder()
        let expected = try await run(undisturbed.path)
        let ends = try kept(RunFolder(path: undisturbed.path), round: 4)

        let scratch = try ScratchFolder()
        let fleet = TroubledFleet(fleet: SimulatedFleet(threads: 1)) { attempt in
            if attempt.round > stopAfter { throw RunTests.Stop() }
        }
        await #expect(throws: (any Error).self) { try await run(scratch.path, on: fleet) }
        let resumed = try await run(
            scratch.path, resume: true, on: try LocalFleet(worker: try builtWorker(), parallel: 2, threads: 1))
        #expect(resumed.modelSHA256 == expected.modelSHA256)
        #expect(try kept(RunFolder(path: scratch.path), round: 4) == ends)
        #expect(!Files.exists(RunFolder(path: scratch.path).work))
    }

    @Test("a model without batch_norm is refused")
    func nothingToKeep() throws {
        let scratch = try ScratchFolder()
        let error = #expect(throws: ConfigurationError.self) {
            try TinyProblem.plan(scratch.path) { $0.averaging.localBatchNorm = true }
        }
        #expect(error?.problems.map(\.key) == ["local_batch_norm"])
    }
}
