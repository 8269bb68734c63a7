import Jobs
import NeuralNetwork
import Tensors
import Testing
import Worker

@Suite struct OtherJobTests {
    @Test func evaluateTellsLossAccuracyAndConfusion() throws {
        try withFixture { fixture in
            #expect(fixture.folder.job(.evaluate).run().error == nil)
            let receipt = try Receipt(contentsOf: fixture.folder.report)
            let report = try #require(receipt.evaluation)
            let shard = try Safetensors(contentsOf: fixture.folder.shard)
            let examples = try Examples(
                x: try #require(shard["x"]), y: try #require(shard["y"]), for: fixture.model)
            let expected = try evaluate(weights: fixture.weights, examples: examples, threads: 1)
            #expect(report.loss == expected.loss)
            #expect(report.accuracy == expected.accuracy)
            #expect(report.confusion == expected.confusion)
            #expect(report.confusion.joined().reduce(0, +) == 50)
        }
    }

    @Test func predictNeedsNoLabels() throws {
        try withFixture { fixture in
            var shard = try Safetensors(contentsOf: fixture.folder.shard)
            let x = try #require(shard["x"])
            shard["y"] = nil
            try shard.write(to: fixture.folder.shard)
            let outcome = fixture.folder.job(.predict(), output: fixture.folder.predictions).run()
            #expect(outcome.error == nil)
            let file = try Safetensors(contentsOf: fixture.folder.predictions)
            let predictions = try #require(file["predictions"])
            #expect(predictions.shape == [50, 3])
            let values = try predictions.floats()
            let expected = try predict(weights: fixture.weights, x: x, threads: 1).floats()
            #expect(values == expected)
            let classes = try #require(file["classes"]).integers()
            for row in 0..<50 {
                let probabilities = Array(values[3 * row..<3 * row + 3])
                #expect(abs(probabilities.reduce(0, +) - 1) < 1e-5)
                #expect(probabilities[classes[row]] == probabilities.max())
            }
            #expect(
                outcome.receipt.digests?.output == (try Safetensors.digestOfContents(of: fixture.folder.predictions)))

            #expect(fixture.folder.job(.evaluate).run().error?.code == .missing)
        }
    }

    @Test func aTextIsWrittenOn() throws {
        try withFixture { fixture in
            let model = try ModelDescription(
                json: """
                    {"input":{"shape":[8],"tokens":6},"layers":[{"type":"embedding","embedding_dim":4},
                     {"type":"lstm","hidden_size":5},{"type":"linear","out_features":6}],"loss":"cross_entropy"}
                    """)
            let weights = Initializer.weights(for: model, seed: 2)
            try weights.safetensors().write(to: fixture.folder.weights)
            let sampling = TextGenerator.Sampling(temperature: 2, seed: 8)
            let (row, text) = TextContinuation.row(of: [1, 5, 2], context: 8, tokens: 30, sampling: sampling)
            try Safetensors(tensors: [("x", row)]).write(to: fixture.folder.shard)
            var expected: [Float] = []
            try TextGenerator(weights).generate(after: [1, 5, 2], count: 30, sampling) {
                expected.append(Float($0))
                return true
            }
            #expect(Set(expected).count > 2)
            let job = fixture.folder.job(.predict(.text(text)), output: fixture.folder.predictions)
            let outcome = job.run()
            #expect(outcome.error == nil)
            func read(_ tokens: Int = 30) throws(DeMLError) -> [Float] {
                let form = WorkerJob.PredictionForm.text(TextContinuation(length: 3, tokens: tokens))
                return try Predictions(
                    contentsOf: fixture.folder.predictions, model: model, examples: 1, form: form
                ).values
            }
            #expect(try read() == expected)
            #expect(throws: DeMLError.self) { try read(31) }
            // What comes from a stranger may be no token.
            for odd in [Float(6), -1, 0.5] {
                let tensor = Tensor(shape: [1, 30], floats: [odd] + expected.dropFirst())
                try Safetensors(tensors: [("predictions", tensor)]).write(to: fixture.folder.predictions)
                let error = #expect(throws: DeMLError.self) { try read() }
                #expect(error?.code == .outOfRange, "\(odd)")
            }
            // Two rows are two texts, and a row without the prompt is none.
            try Safetensors(tensors: [("x", Tensor(shape: [2, 8], int32s: Array(repeating: 1, count: 16)))])
                .write(to: fixture.folder.shard)
            #expect(job.run().error?.code == .shape)
            try Safetensors(tensors: [("x", row)]).write(to: fixture.folder.shard)
            let long = TextContinuation(length: 9, tokens: 1)
            #expect(
                fixture.folder.job(.predict(.text(long)), output: fixture.folder.predictions).run().error?.code
                    == .shape)
        }
    }

    @Test func inspectionKnowsTheKindsOfFiles() throws {
        try withFixture { fixture in
            _ = fixture.folder.training(TrainingOptions()).run()
            let weights = try Inspection(contentsOf: fixture.folder.weights)
            #expect(weights.kind == .weights)
            #expect(weights.problem == nil)
            #expect(weights.elements == fixture.model.parameterCount)
            #expect(weights.tensors.allSatisfy { $0.notFinite == 0 })
            let shard = try Inspection(contentsOf: fixture.folder.shard)
            #expect(shard.kind == .shard)
            #expect(shard.isCompressed)
            #expect(shard.labels?.reduce(0, +) == 50)
            #expect(shard.tensors.first { $0.name == "x" }?.maximum ?? 0 >= 20)
            #expect(try Inspection(contentsOf: fixture.folder.delta).kind == .delta)

            var broken = fixture.weights.safetensors()
            broken["0.weight"] = Tensor(shape: [8, 6], floats: [.nan] + [Float](repeating: 1, count: 47))
            try broken.write(to: fixture.folder.weights)
            let inspection = try Inspection(contentsOf: fixture.folder.weights)
            #expect(inspection.problem?.contains("0.weight") == true)
            let entry = try #require(inspection.tensors.first { $0.name == "0.weight" })
            #expect(entry.notFinite == 1)
            #expect(entry.mean == 1)
            #expect(inspection.text().utf8.count < 4096)
        }
    }

    @Test func inspectionOfManyTensorsFitsTheGuestsBuffer() throws {
        try withFixture { fixture in
            let tensors = (0..<500).map { ("layer.\($0).weight", Tensor(shape: [2], floats: [1, 2])) }
            try Safetensors(tensors: tensors).write(to: fixture.folder.weights)
            let inspection = try Inspection(contentsOf: fixture.folder.weights)
            #expect(inspection.kind == .other)
            #expect(inspection.text().utf8.count < 4096)
            #expect(inspection.text().contains("more lines"))
            #expect(inspection.text(isComplete: true).split(separator: "\n").count == 503)
        }
    }
}
