import Application
import Federation
import Foundation
import Tensors
import Testing

@Suite("What a report is made of", .timeLimit(.minutes(1)))
struct ReportingTests {
    private func page(_ workplace: Workplace, _ folder: RunFolder) throws -> String {
        _ = try workplace.application.report(folder.path)
        return String(decoding: try Files.read(folder.report, maximumBytes: 1 << 24), as: UTF8.self)
    }

    @Test("a finished run has a verdict, what was decided about its data, its layers, and what to run next")
    func finishedRun() async throws {
        let workplace = try Workplace()
        let handle = try workplace.start()
        let summary = try await handle.summary()
        let page = try page(workplace, handle.folder)
        let pattern = /<h1>clouds\.csv · linear model, 10 parameters · \d+ [A-Z][a-z]+ \d{4}<\/h1>/
        #expect(page.contains(pattern))
        #expect(page.contains(/<p class="verdict">\d+\.\d\d %: .* one place, .* one shard alone\.<\/p>/))
        for part in [
            "What was decided about the data", "What to run next", "deml evaluate --model", "Layers of the model",
            "best: round \(summary.bestRound)", "in all: rounds",
        ] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
        #expect(!page.contains("The surest mistakes"), "numbers are no pictures")
        #expect(try #require(summary.wallSeconds) >= summary.seconds)
        // The same run gives the same bytes.
        #expect(try self.page(workplace, handle.folder) == page)
    }

    @Test("of pictures the surest mistakes are shown; what is in their place in a stranger's folder is not")
    func mistakes() async throws {
        let workplace = try Workplace()
        // Noise has labels that nothing can learn, so that there are mistakes.
        var random = SeededGenerator(seed: 7, purpose: "noise")
        let count = 60
        let pixels = (0..<count * 25).map { _ in UInt8(min(255, max(0, 128 + 60 * random.normal()))) }
        let file = Safetensors(
            tensors: [
                (name: "x", tensor: try Tensor(dtype: .u8, shape: [count, 1, 5, 5], bytes: pixels[...])),
                (
                    name: "y",
                    tensor: try Tensor(dtype: .u8, shape: [count], bytes: (0..<count).map { UInt8($0 % 2) }[...])
                ),
            ])
        try Files.writeAtomically(file.encoded(), to: workplace.folder + "/noise.safetensors")
        try workplace.write(
            """
            data: ../noise.safetensors
            test_fraction: 0.5
            model:
              input: {shape: [1, 5, 5], divide_by: 255}
              layers: [{type: flatten}, {type: linear, out_features: 2}]
              loss: cross_entropy
            fleet: simulated
            workers: 2
            rounds: 2
            comparison: false
            """, "settings/noise.yaml")
        let handle = try workplace.application.start(TrainRequest(file: "settings/noise.yaml"))
        let summary = try await handle.summary()
        let confusion = try #require(summary.confusion)
        let wrong = confusion[0][1] + confusion[1][0]
        let mistakes = try handle.folder.readMistakes()
        #expect(wrong > 0 && mistakes.count == min(12, wrong))
        #expect(mistakes.map(\.probability) == mistakes.map(\.probability).sorted(by: >))
        #expect(mistakes.allSatisfy { $0.truth != $0.predicted && $0.probability >= 0.5 })
        let page = try page(workplace, handle.folder)
        #expect(page.split(separator: "data:image/png;base64,").count == mistakes.count + 1)

        var hostile = mistakes[0]
        hostile.png = "\" onerror=\"alert(1)"
        var huge = mistakes[0]
        huge.png = String(repeating: "A", count: 1 << 17)
        try Files.writeAtomically(
            RunJSON.encode([hostile, huge] + [Mistake](repeating: mistakes[0], count: 100)), to: handle.folder.mistakes)
        let strangers = try self.page(workplace, handle.folder)
        #expect(!strangers.contains("onerror"))
        #expect(strangers.split(separator: "data:image/png;base64,").count == 11, "ten of the first twelve")
    }

    @Test("a model's table has a row a layer, with the layers within, and sums that are the model's")
    func modelTable() throws {
        let source = try RunJSON.decode(
            ModelSource.self,
            from: """
                {"input":{"shape":[1,8,8]},"layers":[{"type":"conv2d","out_channels":4,"kernel_size":3,"padding":1},
                {"type":"relu"},{"type":"residual","layers":[{"type":"conv2d","out_channels":4,"kernel_size":3,
                "padding":1}]},{"type":"flatten"},{"type":"linear","out_features":10}],"loss":"cross_entropy"}
                """.utf8)
        guard case .description(let model) = source else {
            Issue.record("the description is whole")
            return
        }
        let table = ModelTable(model)
        #expect(table.rows.allSatisfy { $0.count == ModelTable.head.count })
        #expect(table.rows[0] == ["", "input", "1 x 8 x 8", "", ""])
        #expect(table.rows[1] == ["0", "conv2d", "4 x 8 x 8", "40", "2,304"])
        #expect(table.rows[4] == ["  2.layers.0", "conv2d", "4 x 8 x 8", "148", "9,216"])
        #expect(table.rows.last == ["4", "linear", "10", "2,570", "2,560"])
        #expect(model.layerTable.reduce(0) { $0 + $1.parameters } == model.parameterCount)
        #expect(model.layerTable.reduce(0) { $0 + $1.multiplyAdds } == model.multiplyAdds)
        #expect(table.note.hasPrefix("2,758 parameters (11.0 kB as F32), "))
    }
}
