import Application
import Federation
import Foundation
import Hummingbird
import Reports
import Tensors
import Testing

@Suite struct RouteTests {
    @Test func noRunsIsAnAnswer() async throws {
        let page = try Page()
        defer { page.remove() }
        let answer = try await page.ask(.get, "/api/runs")
        #expect(answer.status == 200)
        #expect((answer.json["runs"] as? [Any])?.isEmpty == true)
    }

    @Test(arguments: ["..%2F..%2Fetc", "%2e%2e", ".hidden", "a%2Fb", "nothing", "%00"])
    func aRunIsNeverAPath(name: String) async throws {
        let page = try Page()
        defer { page.remove() }
        try Files.createDirectory(page.folder + "/runs/.hidden")
        try Files.writeAtomically(Array("{}".utf8), to: page.folder + "/runs/.hidden/config.json")
        try Files.writeAtomically(Array("{}".utf8), to: page.folder + "/config.json")
        for what in ["", "/live", "/report", "/model", "/log"] {
            #expect(try await page.ask(.get, "/api/runs/\(name)\(what)").status == 404)
        }
    }

    @Test func uploadsStayInTheirFolder() async throws {
        let page = try Page()
        defer { page.remove() }
        let begun = try await page.json("/api/uploads", "{}")
        let id = try #require(begun.json["id"] as? String)
        for name in [
            "../../../../evil", "/etc/evil", "..\\..\\evil", "oak/../../evil.csv", "a/./b.csv", ".ssh", "x\u{0}y",
        ] {
            let coded = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            let answer = try await page.ask(.put, "/api/uploads/\(id)?name=\(coded)", body: "1,2\n")
            #expect(answer.status == 200, "\(name): \(answer.body)")
        }
        let base = page.folder + "/runs/.uploads/" + id
        var found: [String] = []
        for case let file as String in FileManager.default.enumerator(atPath: page.folder) ?? .init()
        where !Files.isDirectory(page.folder + "/" + file) { found.append(page.folder + "/" + file) }
        #expect(found.count == 6 && found.allSatisfy { $0.hasPrefix(base + "/") })
        #expect(found.allSatisfy { !$0.dropFirst(base.count).contains("/.") })
        #expect(!Files.exists(page.folder + "/../evil"))
    }

    @Test func tooMuchIsRefusedBeforeItIsSent() async throws {
        let page = try Page()
        defer { page.remove() }
        let id = try #require(try await page.json("/api/uploads", "{}").json["id"] as? String)
        let length: HTTPFields = [.contentLength: "10000000000"]
        let answer = try await page.ask(.put, "/api/uploads/\(id)?name=big.csv", headers: length, body: "1")
        #expect(answer.status == 413)
        #expect(answer.json["hint"] is String)
        #expect(try Files.names(in: page.folder + "/runs/.uploads/" + id) == [])
        #expect(try await page.ask(.put, "/api/uploads/..?name=x", body: "1").status == 404)
        #expect(
            try await page.ask(.put, "/api/uploads/\(id)?name=cut.csv", headers: [.contentLength: "9"], body: "1")
                .status == 400)
        #expect(try Files.names(in: page.folder + "/runs/.uploads/" + id) == [])
    }

    @Test func dataLiesInTheFolderOrIsRefused() async throws {
        let page = try Page()
        defer { page.remove() }
        try Files.writeAtomically(Array("a,label\n".utf8), to: page.folder + "/../outside-\(page.folder.suffix(8)).csv")
        try FileManager.default.createSymbolicLink(
            atPath: page.folder + "/link", withDestinationPath: "/etc/passwd")
        for (path, status) in [
            ("/etc/passwd", 403), ("link", 403), ("../outside-\(page.folder.suffix(8)).csv", 403), ("nothing.csv", 404),
            ("upload:0123456789abcdef", 404),
        ] {
            let answer = try await page.json("/api/data/look", "{\"data\":\"\(path)\"}")
            #expect(answer.status == status, "\(path): \(answer.body)")
        }
        try? FileManager.default.removeItem(atPath: page.folder + "/../outside-\(page.folder.suffix(8)).csv")
    }

    @Test func aTableIsLookedAt() async throws {
        let page = try Page()
        defer { page.remove() }
        var text = "height,colour,kind\n"
        for index in 0..<60 {
            text += "\(index % 2 * 3).\(index),\(index % 3 == 0 ? "red" : "green"),<script>\(index % 2)\n"
        }
        try Files.writeAtomically(Array(text.utf8), to: page.folder + "/trees.csv")
        let answer = try await page.json("/api/data/look", "{\"data\":\"trees.csv\",\"label_column\":\"kind\"}")
        #expect(answer.status == 200, "\(answer.body)")
        #expect(answer.json["kind"] as? String == "table")
        #expect((answer.json["columns"] as? [[String: Any]])?.map { $0["kind"] as? String } == ["number", "category"])
        #expect((answer.json["classes"] as? [[String: Any]])?.count == 2)
        let unknown = try await page.json("/api/data/look", "{\"data\":\"trees.csv\",\"label_column\":\"species\"}")
        #expect(unknown.status == 422 && unknown.json["hint"] is String)
        // A column that says whose a row is: a worker for each value, and nothing to learn from.
        func clients(_ column: String) async throws -> Page.Answer {
            try await page.json(
                "/api/data/look", "{\"data\":\"trees.csv\",\"label_column\":\"kind\",\"partition\":\"\(column)\"}")
        }
        #expect(answer.json["hasClients"] as? Bool == false)
        let colours = try await clients("by_column:colour")
        #expect((colours.json["columns"] as? [[String: Any]])?.map { $0["name"] as? String } == ["height"])
        #expect((colours.json["settings"] as? [String: Any])?["workers"] as? Int == 2, "\(colours.body)")
        for wrong in ["by_column:species", "by_file", "by_age"] {
            let refused = try await clients(wrong)
            #expect(refused.status == 422 && refused.json["hint"] is String, "\(wrong): \(refused.body)")
        }
        for name in ["north", "south"] {
            try Files.createDirectory(page.folder + "/forests")
            try Files.writeAtomically(Array(text.utf8), to: page.folder + "/forests/\(name).csv")
        }
        let files = try await page.json(
            "/api/data/look", #"{"data":"forests","label_column":"kind","partition":"by_file"}"#)
        #expect(files.json["hasClients"] as? Bool == true, "\(files.body)")
        #expect((files.json["settings"] as? [String: Any])?["workers"] as? Int == 2)
    }

    @Test func whatALabelHoldsIsAskedForAndAnswered() async throws {
        let page = try Page()
        defer { page.remove() }
        let rows = (0..<60).map { "\($0 % 7).5,\($0 % 30)" }
        try Files.writeAtomically(
            Array(("size,label\n" + rows.joined(separator: "\n") + "\n").utf8), to: page.folder + "/t.csv")
        let asked = try await page.json("/api/data/look", "{\"data\":\"t.csv\"}")
        #expect(asked.status == 422 && (asked.json["what"] as? String)?.contains("classes, or a quantity") == true)
        let classes = try await page.json("/api/data/look", "{\"data\":\"t.csv\",\"labels\":\"classes\"}")
        #expect((classes.json["classes"] as? [Any])?.count == 30, "\(classes.body)")
        let numbers = try await page.json("/api/data/look", "{\"data\":\"t.csv\",\"labels\":\"numbers\"}")
        #expect(numbers.json["targets"] as? [String] == ["label"] && numbers.json["classes"] == nil)
    }

    @Test func aTextIsLookedAt() async throws {
        let page = try Page()
        defer { page.remove() }
        let text = String(repeating: "the quick brown fox jumps over the lazy dog.\n", count: 40)
        try Files.writeAtomically(Array(text.utf8), to: page.folder + "/fox.txt")
        let answer = try await page.json("/api/data/look", "{\"data\":\"fox.txt\"}")
        #expect(answer.status == 200 && answer.json["kind"] as? String == "texts", "\(answer.body)")
        #expect(answer.json["outputs"] as? Int == 29 && (answer.json["train"] as? Int ?? 0) > 10)
        func reading(_ answer: Page.Answer) -> [String] {
            let text = answer.json["text"] as? [String: Any] ?? [:]
            return [text["tokens"] as? String ?? "", "\(text["block"] as? Int ?? 0)"]
        }
        #expect(reading(answer) == ["characters", "64"] && answer.json["hasClients"] as? Bool == false)
        let bytes = try await page.json("/api/data/look", #"{"data":"fox.txt","text":{"tokens":"bytes","block":16}}"#)
        #expect(reading(bytes) == ["bytes", "16"] && bytes.json["outputs"] as? Int == 256, "\(bytes.body)")
        #expect(bytes.json["input"] as? [Int] == [16])
        for wrong in [#"{"tokens":"words","block":16}"#, #"{"tokens":"bytes","block":0}"#, #"{"block":100000}"#] {
            let refused = try await page.json("/api/data/look", "{\"data\":\"fox.txt\",\"text\":\(wrong)}")
            #expect(refused.status == 422, "\(wrong): \(refused.body)")
        }
    }

    @Test func aModelIsCheckedLayerByLayer() async throws {
        let page = try Page()
        defer { page.remove() }
        let input = "{\"input\":{\"shape\":[1,28,28]},\"loss\":\"cross_entropy\",\"layers\":"
        let good = try await page.json(
            "/api/models/check", input + "[{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":10}]}")
        #expect(good.json["parameters"] as? Int == 7850)
        #expect((good.json["lines"] as? [[String: Any]])?.last?["output"] as? [Int] == [10])
        let softmax = try await page.json(
            "/api/models/check",
            input + "[{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":10},{\"type\":\"softmax\"}]}")
        #expect(softmax.json["mistake"] == nil)
        let wrong = try await page.json(
            "/api/models/check",
            input
                + "[{\"type\":\"flatten\"},{\"type\":\"conv2d\",\"out_channels\":4,\"kernel_size\":3},{\"type\":\"relu\"}]}"
        )
        #expect(wrong.json["layer"] as? Int == 1)
        #expect((wrong.json["lines"] as? [Any])?.count == 1)
        #expect((wrong.json["mistake"] as? [String: Any])?["what"] is String)
        let unknown = try await page.json("/api/models/check", input + "[{\"type\":\"lineer\"}]}")
        #expect(unknown.json["layer"] as? Int == 0)
        let last = try await page.json("/api/models/check", input + "[{\"type\":\"relu\"}]}")
        #expect(last.json["layer"] as? Int == 0)
        #expect(try await page.json("/api/models/check", "{}").status == 400)
    }

    @Test func theFirstExampleIsTheOneInTheTree() async throws {
        let page = try Page()
        defer { page.remove() }
        let example = try #require(
            (try await page.ask(.get, "/api/examples").json["examples"] as? [[String: Any]])?.first)
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        let application = Application(workingFolder: root, executable: root + "/x", environment: [:])
        let file = try application.settings(TrainRequest(file: root + "/examples/mnist-mlp.yaml"))
        var settings = example["settings"] as? [String: Any] ?? [:]
        settings["model"] = example["model"]
        settings["data"] = example["data"]
        let text = String(decoding: try JSONSerialization.data(withJSONObject: settings), as: UTF8.self)
        let given = try application.settings(TrainRequest(document: text))
        #expect(given.allDifferences(to: file) == [])
    }

    @Test func moneyIsNotSpentWithoutItsAmount() async throws {
        let page = try Page()
        defer { page.remove() }
        let settings = "\"settings\":{\"data\":\"mnist\",\"fleet\":\"golem\",\"golem\":{\"budget\":3}}"
        try Files.createDirectory(page.folder + "/mnist")
        #expect(try await page.json("/api/runs", "{\(settings)}").status == 409)
        #expect(try await page.json("/api/runs", "{\(settings),\"agreedGLM\":2}").status == 409)
        // Agreed; then there is no program to start.
        let agreed = try await page.json("/api/runs", "{\(settings),\"agreedGLM\":3}")
        #expect(agreed.status == 422 && (agreed.json["what"] as? String)?.contains("cannot be started") == true)
        #expect(try Files.names(in: page.folder + "/runs") == [])
        let cost = try await page.json("/api/settings/check", "{\(settings)}")
        #expect(cost.json["budget"] as? Double == 3 && cost.json["worst"] is Double)
        for key in ["app_key", "api_url", "image", "data_folder"] {
            let other = "{\"settings\":{\"data\":\"mnist\",\"golem\":{\"\(key)\":\"x\"}}}"
            #expect(try await page.json("/api/settings/check", other).status == 422)
        }
    }

    @Test func allThatIsWrongWithSettingsIsToldAtOnce() async throws {
        let page = try Page()
        defer { page.remove() }
        try Files.createDirectory(page.folder + "/mnist")
        let answer = try await page.json(
            "/api/settings/check", "{\"settings\":{\"data\":\"mnist\",\"rounds\":0,\"batch_size\":-1,\"nonsense\":1}}")
        #expect(answer.status == 422)
        let keys = (answer.json["problems"] as? [[String: Any]])?.compactMap { $0["key"] as? String } ?? []
        #expect(Set(keys) == ["rounds", "batch_size", "nonsense"])
        #expect(try await page.json("/api/settings/check", "{\"settings\":{\"output\":\"/etc\"}}").status == 422)
    }

    /// The same colour for the same thing, here and in the report.
    @Test func coloursAreThoseOfTheReport() async throws {
        let page = try Page()
        defer { page.remove() }
        let css = try await page.ask(.get, "/assets/style.css").body
        let parts = css.components(separatedBy: "@media (prefers-color-scheme: dark)")
        let dark = parts[1].prefix(while: { $0 != "*" })
        for (part, palette) in [(parts[0][...], Palette.light), (dark[...], Palette.dark)] {
            var found: [String: String] = [:]
            for match in part.matches(of: /--(\w+): (#[0-9a-f]+);/) {
                let hex = match.2.count == 4 ? "#" + match.2.dropFirst().map { "\($0)\($0)" }.joined() : String(match.2)
                found[String(match.1)] = hex
            }
            let known = palette.colours.filter { found[$0.name] != nil }
            #expect(known.count >= 15)
            for colour in known { #expect(found[colour.name] == colour.hex, "\(colour.name)") }
        }
    }

    @Test func aRunThatIsTornIsACardAllTheSame() async throws {
        let page = try Page()
        defer { page.remove() }
        try Files.createDirectory(page.folder + "/runs/torn")
        try Files.writeAtomically(Array("{\"rounds\":".utf8), to: page.folder + "/runs/torn/config.json")
        let cards = try #require(try await page.ask(.get, "/api/runs").json["runs"] as? [[String: Any]])
        #expect(cards.first?["state"] as? String == "failed" && cards.first?["message"] is String)
        #expect(try await page.ask(.get, "/api/runs/torn").status == 422)
    }
}
