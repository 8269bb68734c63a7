import Application
import Federation
import Foundation
import Tensors
import Testing

@Suite("What a run knows of its data", .timeLimit(.minutes(2)))
struct DataTests {
    /// A run of a table with names of classes, columns in a certain order, and a test set of a twentieth.
    private func trained(_ place: Workplace, fraction: String = "0.05") async throws -> Summary {
        try place.write(Self.table, "data/trees.csv")
        try place.write("layers: [{type: linear, out_features: 8}, {type: relu}, {type: linear}]\n", "tiny.yaml")
        let run = try place.application.start(
            TrainRequest(settings: [
                ("data", "data/trees.csv"), ("model", "tiny.yaml"), ("label_column", "kind"), ("fleet", "simulated"),
                ("rounds", "2"), ("comparison", "false"), ("test_fraction", fraction), ("output", "out/run"),
                ("learning_rate", "0.05"),
            ]))
        return try await run.summary()
    }

    private struct Row {
        let kind: String
        let a: Double
        let b: Double
    }

    private static let rows: [Row] = (0..<180).map { (index: Int) -> Row in
        let a: Double = Double(index % 3) + Double(index % 7) / 10
        return Row(kind: ["ash", "birch", "cedar"][index % 3], a: a, b: Double(index) / 9)
    }
    private static var table: String {
        "kind,a,b\n" + rows.map { row -> String in "\(row.kind),\(row.a),\(row.b)\n" }.joined()
    }

    private func evaluate(
        _ place: Workplace, _ model: String, _ data: String? = nil, _ part: DatasetPart? = nil
    ) throws -> EvaluateAnswer {
        try place.application.evaluate(
            EvaluateRequest(model: model, data: DataRequest(data: data), part: part))
    }

    @Test("nothing is measured on rows that were trained on, unless that is asked for")
    func ownTestRows() async throws {
        let place = try Workplace()
        let summary = try await trained(place)
        #expect(summary.rounds == 2)
        // The run, its weights, and a copy of them elsewhere that knows the data by its content.
        try place.write("", "elsewhere/x")
        try FileManager.default.copyItem(
            atPath: place.folder + "/out/run/model.safetensors", toPath: place.folder + "/elsewhere/m.safetensors")
        try place.write(Self.table, "elsewhere/renamed.csv")
        for (model, data) in [
            ("out/run/model.safetensors", nil), ("out/run/model.safetensors", "data/trees.csv"),
            ("elsewhere/m.safetensors", "elsewhere/renamed.csv"),
        ] {
            let answer = try evaluate(place, model, data)
            #expect(answer.part == .test && answer.evaluation.count == 9 && answer.evaluation.loss == summary.loss)
            #expect(answer.classes == ["ash", "birch", "cedar"])
        }
        let all = try evaluate(place, "out/run", nil, .all)
        #expect(all.evaluation.count == 180 && all.notes.contains { $0.isWarning && $0.text.contains("trained") })
        let train = try evaluate(place, "out/run", nil, .train)
        #expect(train.evaluation.count == 171 && train.notes.contains { $0.text.contains("trained on these") })
        // Other rows are all taken, whatever their columns' order.
        try place.write("b,a,kind\n1,0.1,ash\n2,1.1,birch\n", "other.csv")
        let other = try evaluate(place, "out/run", "other.csv")
        #expect(other.part == .all && other.evaluation.count == 2 && !other.notes.contains(where: \.isWarning))
        let nowhere = #expect(throws: DeMLError.self) { try evaluate(place, "elsewhere/m.safetensors") }
        #expect(nowhere?.code == .usage && nowhere?.hint?.contains("--data") == true)
    }

    @Test("a run and its data may move; data that has changed is refused with what changed")
    func movedAndChanged() async throws {
        let place = try Workplace()
        _ = try await trained(place)
        try place.write("", "new/x")
        for name in ["data", "out"] {
            try FileManager.default.moveItem(atPath: place.folder + "/" + name, toPath: place.folder + "/new/" + name)
        }
        let resumed = try place.application.start(
            TrainRequest(resume: "new/out/run", settings: [("rounds", "3")]))
        #expect(try await resumed.summary().rounds == 3)
        #expect(try evaluate(place, "new/out/run").evaluation.count == 9)

        func resume() throws {
            _ = try place.application.start(TrainRequest(resume: "new/out/run", settings: [("rounds", "4")]))
        }
        try place.write(Self.table + "ash,1,2\n", "new/data/trees.csv")
        let longer = #expect(throws: DeMLError.self) { try resume() }
        #expect(longer?.code == .mismatch && longer?.message.contains("180 examples and has 181") == true)
        try place.write(Self.table.replacing("\(Self.rows[100].b)\n", with: "77.5\n"), "new/data/trees.csv")
        let other = #expect(throws: DeMLError.self) { try resume() }
        #expect(other?.message.contains("values are others in the examples") == true)
        let measured = #expect(throws: DeMLError.self) { try evaluate(place, "new/out/run") }
        #expect(measured?.code == .mismatch)
        try place.write(Self.table.replacing("kind,a,b", with: "kind,a,c"), "new/data/trees.csv")
        let renamed = #expect(throws: DeMLError.self) { try resume() }
        #expect(renamed?.message.contains("no column 'b'") == true)
        // Named by --data it is other data, and used as it is.
        try place.write(Self.table + "ash,1,2\n", "new/data/trees.csv")
        #expect(try evaluate(place, "new/out/run", "new/data/trees.csv").evaluation.count == 181)
    }

    @Test("predictions name the classes, the rows and the true labels, and leave no row out")
    func predictions() async throws {
        let place = try Workplace()
        _ = try await trained(place)
        try place.write("a;b\n" + Self.rows.prefix(20).map { "\($0.a);\($0.b)\n" }.joined(), "new.csv")
        let answer = try place.application.predict(
            PredictRequest(model: "out/run", data: DataRequest(data: "new.csv"), count: 0, output: "p.csv"))
        #expect(answer.predictions.count == 20 && answer.predictions.allSatisfy { $0.truth == nil })
        #expect(Set(answer.predictions.compactMap(\.predicted)).isSubset(of: ["ash", "birch", "cedar"]))
        func lines(_ name: String) throws -> [Substring] {
            String(decoding: try Files.read(place.folder + "/" + name, maximumBytes: 1 << 20), as: UTF8.self)
                .split(separator: "\n")
        }
        #expect(try lines("p.csv")[0] == "example,predicted,ash,birch,cedar" && lines("p.csv").count == 21)
        // The test set of the run, by the rows of its file.
        let own = try place.application.predict(PredictRequest(model: "out/run", count: 0, output: "own.csv"))
        #expect(own.predictions.count == 9)
        for prediction in own.predictions { #expect(prediction.truth == Self.rows[prediction.example].kind) }
        #expect(try lines("own.csv")[0] == "example,label,predicted,ash,birch,cedar")
    }

    @Test("a model is chosen for who has none, and written for who wants to edit it")
    func chosenModel() async throws {
        let place = try Workplace()
        try place.write(Self.table, "trees.csv")
        let run = try place.application.start(
            TrainRequest(settings: [("data", "trees.csv"), ("comparison", "false"), ("rounds", "12")]))
        #expect(run.chosenModel?.contains("{type: linear, out_features: 3}") == true)
        #expect(run.decisions.contains { $0.subject == "label" && $0.text.contains("'kind'") })
        // Classes of a table: what is not said by the person suits the network.
        #expect(run.configuration.training.optimizer == .sgd && run.configuration.training.clipGradNorm == 1)
        #expect(run.chosenModel?.contains("\nmomentum: 0.9\nclip_grad_norm: 1.0") == true)
        #expect(try #require(try await run.summary().accuracy) > 0.8)
        #expect(try run.folder.readData()?.decisions == run.decisions)

        let settings = try place.application.initialSettings(DataRequest(data: "trees.csv"), output: nil)
        #expect(settings.file == "trees.yaml" && settings.text.contains("label_column: kind"))
        let again = try place.application.start(
            TrainRequest(file: "trees.yaml", settings: [("comparison", "false"), ("rounds", "1")]))
        #expect(again.chosenModel == nil && again.configuration.model == run.configuration.model)
        #expect(again.configuration.training == run.configuration.training)
        _ = try await again.summary()
        let twice = #expect(throws: DeMLError.self) {
            try place.application.initialSettings(DataRequest(data: "trees.csv"), output: nil)
        }
        #expect(twice?.code == .cannotCreate)
    }

    @Test("weights that do not fit are blamed themselves, and runs that begin at once do not share a folder")
    func smallThings() async throws {
        let place = try Workplace()
        try Safetensors(tensors: [("net.0.weight", Tensor(shape: [2, 4], floats: [Float](repeating: 0, count: 8)))])
            .write(to: place.folder + "/w.safetensors")
        let error = #expect(throws: DeMLError.self) { try place.start([("initial_weights", "w.safetensors")]) }
        #expect(error?.place?.hasSuffix("w.safetensors") == true && error?.message.contains("net.0.weight") == true)
        #expect(!Files.exists(place.folder + "/runs/clouds"))
        let (one, other) = (try place.start(), try place.start())
        #expect(one.folder.path != other.folder.path)
        _ = try await (one.summary(), other.summary())
        try place.write(
            "\u{feff}data: clouds.csv\nmodel: {layers: [{type: linear}]}\nfleet: simulated\nrounds: 1\n", "bom.yaml")
        _ = try await place.application.start(TrainRequest(file: "bom.yaml")).summary()
    }
}
