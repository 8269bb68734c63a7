import Application
import Datasets
import Federation
import Foundation
import NeuralNetwork
import Tensors
import Testing

/// A text from its file to a text that the model writes.
@Suite("Text, from a file to a text that is written on", .timeLimit(.minutes(5)))
struct TextTests {
    /// Nothing but this, over and over: a small model learns it.
    private static let line = "the quick brown fox jumps over the lazy dog.\n"

    private func trained(rounds: Int = 6) async throws -> Workplace {
        let place = try Workplace()
        try place.write(String(repeating: Self.line, count: 80), "fox.txt")
        let run = try place.application.start(
            TrainRequest(
                settings: [
                    ("data", "fox.txt"), ("text", "{block: 24, stride: 5}"), ("comparison", "false"),
                    ("rounds", "\(rounds)"), ("local_epochs", "4"), ("workers", "1"), ("learning_rate", "0.005"),
                    ("optimizer", "adamw"), ("output", "out/fox"),
                ]))
        #expect(run.chosenModel?.contains("type: attention") == true)
        #expect(run.decisions.contains { $0.subject == "text" && $0.text.contains("29 different") })
        let accuracy = try #require(try await run.summary().accuracy)
        #expect(rounds == 1 || accuracy > 0.8)
        return place
    }

    @Test("a model is chosen, learns, and goes on with a prompt, the same on any number of threads")
    func wholeWay() async throws {
        let place = try await trained()
        var pieces: [String] = []
        let request = GenerateRequest(
            model: "out/fox", prompt: "the quick ", tokens: 60, sampling: .init(temperature: 0), threads: 1)
        let text = try place.application.generate(request) {
            pieces.append($0)
            return true
        }
        #expect(text.hasPrefix("brown fox") && text.count == 60 && pieces.joined() == text)
        var drawn = request
        drawn.sampling = .init(temperature: 1.5, topK: 10, seed: 3)
        let one = try place.application.generate(drawn)
        drawn.threads = 3
        #expect(try place.application.generate(drawn) == one && one != text)
        // Elsewhere, and looked at: the same.
        for request in [request, drawn] {
            let here = try place.application.generate(request)
            let there = try await place.application.generate(request, on: FleetPlace(.simulated, audit: .all)) { _ in }
            #expect(there.text == here && there.result.audits?.audited == 1 && there.result.audits?.mismatches == 0)
        }
        #expect(try Files.names(in: place.folder + "/runs").isEmpty)
        // It ends where the reader has enough.
        var count = 0
        let short = try place.application.generate(request) { _ in
            count += 1
            return count < 5
        }
        #expect(short.count == 5)

        let evaluation = try place.application.evaluate(EvaluateRequest(model: "out/fox"))
        #expect(evaluation.part == .test && (evaluation.evaluation.accuracy ?? 0) > 0.8)
        let settings = try place.application.initialSettings(DataRequest(data: "fox.txt"), output: nil)
        #expect(settings.text.contains("text: {tokens: characters}") && settings.text.contains("tokens: 29"))
    }

    @Test("what cannot be written on with is refused, each with one line")
    func refusals() async throws {
        let place = try await trained(rounds: 1)
        func failure(_ request: GenerateRequest) -> DeMLError? {
            do {
                _ = try place.application.generate(request)
                return nil
            } catch { return error as? DeMLError }
        }
        #expect(failure(GenerateRequest(model: "out/fox", prompt: "THE"))?.message.contains("'T'") == true)
        #expect(failure(GenerateRequest(model: "out/fox", prompt: ""))?.code == .missing)
        #expect(failure(GenerateRequest(model: "out/fox", prompt: "the", tokens: 0))?.code == .usage)
        #expect(
            failure(GenerateRequest(model: "out/fox", prompt: "the", sampling: .init(temperature: -1)))?.code
                == .outOfRange)
        #expect(failure(GenerateRequest(model: "out/none", prompt: "the"))?.code == .notFound)
        let predicted = #expect(throws: DeMLError.self) {
            try place.application.predict(PredictRequest(model: "out/fox"))
        }
        #expect(predicted?.hint?.contains("generate") == true)

        let run = try place.start([("output", place.folder + "/out/clouds"), ("rounds", "1")])
        _ = try await run.summary()
        #expect(failure(GenerateRequest(model: "out/clouds", prompt: "the"))?.message.contains("no text") == true)
        // A model of measurements on text, and the other way round.
        for (data, model) in [
            ("fox.txt", "{input: {shape: [64]}, layers: [{type: linear, out_features: 3}], loss: mse}"),
            (
                "clouds.csv",
                "{input: {shape: [4], tokens: 9}, layers: [{type: embedding, embedding_dim: 2}], loss: mse}"
            ),
        ] {
            try place.write("model: \(model)\n", "bad.yaml")
            #expect(throws: (any Error).self) {
                try place.application.start(TrainRequest(file: "bad.yaml", settings: [("data", data)]))
            }
        }
        let unknown = #expect(throws: (any Error).self) {
            try place.application.start(TrainRequest(settings: [("data", "fox.txt"), ("text", "words")]))
        }
        #expect("\(try #require(unknown))".contains("characters"))
    }
}
