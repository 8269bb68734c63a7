import NeuralNetwork
import Tensors

/// A text as examples: cut into blocks of tokens, each with the token that follows as its label. What is tested comes later
/// in the text than what is learned, client by client.
struct TextReading {
    var train: Dataset.Part
    var test: Dataset.Part?
    var schema: Schema
    var decisions: [Decision] = []
    /// The client of each training example.
    var groups: (ids: [Int], names: [String])?
    /// Training and test set are parts of the same texts.
    var isSplit = false
    /// Where it is not the length of an example.
    var stride: Int?

    /// One client's text.
    private struct Client {
        var name: String
        var ids: ArraySlice<Int32>
    }

    /// - Parameters:
    ///   - testFraction: of each client's text, at its end; 0 where the files have a test set.
    init(
        _ files: TextFiles, _ options: DatasetOptions, schema known: Schema?, testFraction: Double
    ) throws(DeMLError) {
        var text = options.text ?? TextOptions()
        if let known, case .tokens(let length, let vocabulary) = known.features {
            text.tokens = vocabulary == nil ? .bytes : .characters
            text.block = length
        }
        try text.validate()
        let block = text.block ?? options.inputShape?.first ?? TextOptions.standardBlock
        let byRole = options.groupColumn == "role"
        if let column = options.groupColumn, !byRole {
            throw DeMLError(
                .usage, "a text has no column \(column.quotedForMessage)",
                hint: "by_column:role makes clients of speakers")
        }
        let trainTexts = try Self.clients(files.train, byRole: byRole)
        let testTexts = try Self.clients(files.test, byRole: false)
        let vocabulary: TextVocabulary
        if let known, case .tokens(_, let names) = known.features {
            vocabulary = try TextVocabulary(names: names)
        } else {
            vocabulary =
                text.tokens == .bytes ? .bytes : try TextVocabulary(of: (trainTexts + testTexts).map(\.text))
        }
        func encoded(_ texts: [(name: String, text: String)]) throws(DeMLError) -> [Client] {
            try texts.map { (client) throws(DeMLError) in
                let ids = try DatasetSource.attempt(client.name) { (_) throws(DeMLError) in
                    try vocabulary.ids(of: client.text)
                }
                return Client(name: client.name, ids: ids[...])
            }
        }
        let clients = try encoded(trainTexts)
        var ends = try encoded(testTexts)
        var starts = clients
        if ends.isEmpty, testFraction > 0 {
            isSplit = true
            for index in clients.indices {
                let kept = Int(Double(clients[index].ids.count) * (1 - testFraction))
                starts[index].ids = clients[index].ids[..<kept]
                ends.append(Client(name: clients[index].name, ids: clients[index].ids[kept...]))
            }
        }
        stride = text.stride == block ? nil : text.stride
        let windows = Windows(block: block, stride: text.stride ?? block, isSmall: vocabulary.count <= 256)
        let (found, ids, names) = windows.cut(starts.map { ($0.name, $0.ids) })
        guard let found else {
            throw DeMLError(
                .missing, "no text is as long as \(block + 1) tokens, an example and the token that follows",
                hint: "a smaller block needs less: text: {block: \(max(1, block / 4))}")
        }
        train = found
        test = windows.cut(ends.map { ($0.name, $0.ids) }).part
        if !ends.isEmpty, test == nil {
            throw DeMLError(
                .missing, "no test text is as long as \(block + 1) tokens", hint: "take a larger test_fraction")
        }
        groups = clients.count > 1 ? (ids, names) : nil
        schema =
            known
            ?? Schema(
                features: .tokens(length: block, vocabulary: vocabulary.names),
                target: .classes(vocabulary.classNames, column: nil))
        let total = clients.reduce(0) { $0 + $1.ids.count }
        decisions = [
            Decision(
                "text",
                "\(total) \(vocabulary.words), \(vocabulary.count) different, in examples of \(block)"
                    + " (--text '{tokens: characters|bytes, block: N}')"),
            Decision("label", "the token that follows, for each token"),
            Decision("examples", "\(train.count) to train on, \(test?.count ?? 0) to test with"),
        ]
        if isSplit {
            decisions.append(
                Decision("test set", "the last \(testFraction) of each client's text (--test-fraction)"))
        }
        if clients.count > 1 {
            let left = clients.count - names.count
            decisions.append(
                Decision(
                    "clients",
                    "\(names.count) \(byRole ? "roles" : "files")"
                        + (left > 0 ? "; \(left) have too little text for an example and are left out" : "")))
        }
    }

    /// The texts of files, as text; with `byRole` of everybody who speaks in them twice or more.
    private static func clients(
        _ files: [TextFiles.Piece], byRole: Bool
    ) throws(DeMLError) -> [(name: String, text: String)] {
        var texts: [(name: String, text: String)] = []
        for file in files {
            guard let text = String(validating: file.bytes, as: UTF8.self) else {
                throw DeMLError(.malformed, "the file is not UTF-8 text", place: file.name)
            }
            guard byRole else {
                texts.append((file.name, text))
                continue
            }
            let prefix = files.count > 1 ? file.name.split(separator: ".").first.map { "\($0) " } ?? "" : ""
            texts += Play(text).roles.map { (prefix + $0.name, $0.text) }
        }
        if byRole, texts.isEmpty, !files.isEmpty {
            throw DeMLError(
                .missing, "nobody speaks twice in the text",
                hint: "a speech is a line 'NAME:' and the lines up to an empty one")
        }
        return texts
    }
}

/// A play: a line `NAME:`, then what is said, then an empty line.
struct Play {
    /// Who speaks at least twice, in the order of their first words, and all that they say.
    let roles: [(name: String, text: String)]

    init(_ text: String) {
        var order: [String] = []
        var speeches: [String: [String]] = [:]
        var speaker: String?
        var lines: [Substring] = []
        func finish() {
            guard let name = speaker, !lines.isEmpty else { return }
            if speeches[name] == nil { order.append(name) }
            speeches[name, default: []].append(lines.joined(separator: "\n"))
        }
        var isBehindGap = true
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty || line == "\r" {
                finish()
                (speaker, lines, isBehindGap) = (nil, [], true)
            } else if isBehindGap, line.hasSuffix(":"), line.count <= 60 {
                (speaker, lines, isBehindGap) = (String(line.dropLast()), [], false)
            } else {
                if speaker != nil { lines.append(line) }
                isBehindGap = false
            }
        }
        finish()
        roles = order.compactMap { name in
            guard let said = speeches[name], said.count >= 2 else { return nil }
            return (name, said.joined(separator: "\n"))
        }
    }
}

/// Cuts texts into examples.
private struct Windows {
    let block: Int
    let stride: Int
    /// Ids fit into bytes.
    let isSmall: Bool

    /// The examples of all texts one behind the other; of each the number of its text among those that have any, and
    /// their names.
    func cut(_ texts: [(name: String, ids: ArraySlice<Int32>)]) -> (part: Dataset.Part?, ids: [Int], names: [String]) {
        var starts: [(text: Int, first: Int)] = []
        var ids: [Int] = []
        var names: [String] = []
        for (number, text) in texts.enumerated() {
            let count = (text.ids.count - block - 1) / stride + 1
            guard text.ids.count > block, count > 0 else { continue }
            for window in 0..<count { starts.append((number, text.ids.startIndex + window * stride)) }
            ids += repeatElement(names.count, count: count)
            names.append(text.name)
        }
        guard !starts.isEmpty else { return (nil, [], []) }
        func tensor(_ offset: Int) -> Tensor {
            let shape = [starts.count, block]
            if isSmall {
                return Tensor(
                    shape: shape,
                    bytes: makeArray(count: starts.count * block) { (target: UnsafeMutableBufferPointer<UInt8>) in
                        each(offset, texts) { target[$0] = UInt8(truncatingIfNeeded: $1) }
                    })
            }
            let wide: [Int32] = makeArray(count: starts.count * block) { target in
                each(offset, texts) { target[$0] = $1 }
            }
            return Tensor(shape: shape, int32s: wide)
        }
        func each(
            _ offset: Int, _ texts: [(name: String, ids: ArraySlice<Int32>)], _ body: (Int, Int32) -> Void
        ) {
            for (index, start) in starts.enumerated() {
                let ids = texts[start.text].ids
                for place in 0..<block { body(index * block + place, ids[start.first + offset + place]) }
            }
        }
        return (Dataset.Part(x: tensor(0), y: tensor(1)), ids, names)
    }
}
