import Datasets
import Tensors
import TestSupport
import Testing

@Suite struct SchemaTests {
    private static let schema = Schema(
        features: .table([
            Schema.Feature(name: "age", kind: .number(mean: 29.7, deviation: 14.5), hasMissing: true),
            Schema.Feature(name: "sex", kind: .category(["female", "male"])),
        ]), target: .classes(["no", "yes"], column: "survived"),
        source: Schema.Source(sha256: String(repeating: "a", count: 64), testFraction: 0.2, seed: 0))

    private static let json =
        #"{"data":{"seed":0,"sha256":"\#(String(repeating: "a", count: 64))","test_fraction":0.2},"#
        + #""features":{"columns":[{"kind":"number","mean":29.7,"missing":true,"name":"age","std":14.5},"#
        + #"{"kind":"category","name":"sex","values":["female","male"]}],"kind":"table"},"#
        + #""label":{"classes":["no","yes"],"column":"survived"},"version":1}"#

    private func options(_ schema: Schema = schema) -> DatasetOptions {
        var options = DatasetOptions(testFraction: 0)
        options.schema = schema
        return options
    }

    private func read(_ text: String) throws -> Dataset {
        try Dataset(storedBytes: Array(text.utf8), name: "new.csv", options: options())
    }

    @Test func oneText() throws {
        #expect(Self.schema.canonicalJSON == Self.json)
        #expect(try Schema(json: Self.json) == Self.schema)
        #expect(Self.schema.inputShape == [4] && Self.schema.outputs == 2)
        for features in [
            Schema.Features.pixels(shape: [3, 4, 5], layout: .channelsLast), .numbers(shape: [7]),
            .tokens(length: 9, vocabulary: ["a", "b"]), .tokens(length: 9, vocabulary: nil),
        ] {
            let schema = Schema(features: features, target: .numbers(["price"]))
            #expect(try Schema(json: schema.canonicalJSON) == schema)
        }
    }

    @Test(arguments: [
        ("version", #""version":1"#, #""version":2"#), ("a key", #""version":1"#, #""version":1,"more":0"#),
        ("a key within", #""kind":"category","#, #""kind":"category","more":0,"#),
        ("a kind", #""kind":"category""#, #""kind":"colour""#), ("two names", #""name":"sex""#, #""name":"age""#),
        ("two classes", #"["no","yes"]"#, #"["no","no"]"#), ("no class", #"["no","yes"]"#, "[]"),
        ("deviation", #""std":14.5"#, #""std":0"#),
        ("both targets", #""version""#, #""target":{"columns":["x"]},"version""#),
        ("a column that is the label", #""name":"sex""#, #""name":"survived""#),
        ("no values", #"["female","male"]"#, "[]"),
        ("digest", #""sha256":"a"#, #""sha256":"aa"#), ("fraction", #""test_fraction":0.2"#, #""test_fraction":1"#),
        ("no text", "{", ""),
    ])
    func refuses(what: String, old: String, new: String) {
        let text = Self.json.replacing(old, with: new, maxReplacements: 1)
        #expect(text != Self.json)
        let error = failure { _ = try Schema(json: text) }
        #expect(error != nil && error?.code != .internal, "\(what)")
    }

    @Test func columnsAndClassesAreFoundByName() throws {
        let data = try read("survived;sex;ticket;age\nyes;male;17;44.2\nno;female;18;?\n")
        #expect(try data.train.x.floats() == [1, 0, 0, 1, 0, 1, 1, 0])
        #expect(try data.train.y.integers() == [1, 0] && data.classNames == ["no", "yes"])
        #expect(data.decisions.contains { $0.subject == "not used" && $0.text.contains("'ticket'") })
    }

    @Test(arguments: [
        ("survived,sex\nyes,male\n", "'age'", "'sex'"), ("age,sex\n3,male\n", "'survived'", "'age'"),
        ("survived,sex,age\nyes,child,3\n", "'child'", "'female', 'male'"),
        ("survived,sex,age\nmaybe,male,3\n", "'maybe'", "'no', 'yes'"),
        ("survived,sex,age\nyes,male,old\n", "'old' is no number", "--missing-values"),
        ("yes,male,3\nno,male,4\n", "without names", "names"),
    ])
    func whatDoesNotFitIsRefusedByName(text: String, message: String, hint: String) {
        let error = failure { _ = try read(text) }
        #expect(error?.message.contains(message) == true, "\(error?.summary ?? "no error")")
        #expect(error?.hint?.contains(hint) == true, "\(error?.summary ?? "no error")")
    }

    @Test func shardsCarryIt() throws {
        var whole = DatasetOptions(testFraction: 0)
        whole.standardizes = true
        let text = "a,kind\n" + (0..<20).map { "\($0).5,\($0 % 2 == 0 ? "x" : "y")" }.joined(separator: "\n")
        let data = try Dataset(storedBytes: Array(text.utf8), name: "t", options: whole)
        try withScratch { folder in
            try data.writeShards(to: folder, parts: 2, partition: .iid, seed: 0)
            let again = try Dataset(path: folder, options: DatasetOptions(testFraction: 0))
            #expect(again.schema == data.schema && again.classNames == ["x", "y"])
            // A model of these columns takes the shards, one of others does not.
            #expect(try Dataset(path: folder, options: options(data.schema)).train.count == 20)
            #expect(failure { _ = try Dataset(path: folder, options: options()) }?.code == .mismatch)
        }
    }

    @Test func clientsByColumn() throws {
        let text =
            "ward,a,label\n" + (0..<30).map { "\(["b", "a", "c"][$0 % 3]),\($0),\($0 % 2)" }.joined(separator: "\n")
        var options = DatasetOptions(testFraction: 0.1)
        options.groupColumn = "ward"
        let data = try Dataset(storedBytes: Array(text.utf8), name: "t", options: options)
        let rule = try Partition(parsing: "by_column:ward")
        #expect(data.schema.columnNames == ["a"] && rule.description == "by_column:ward")
        #expect(try data.clients(rule) == 3)
        let parts = try data.partition(rule, parts: 3, seed: 0)
        let values = try data.train.x.integers()
        for (client, part) in parts.enumerated() {
            #expect(!part.isEmpty && part.allSatisfy { values[$0] % 3 == [1, 0, 2][client] })
        }
        #expect(parts.joined().count == 27)
        #expect(failure { _ = try data.partition(rule, parts: 2, seed: 0) }?.message.contains("3 clients") == true)
    }
}
