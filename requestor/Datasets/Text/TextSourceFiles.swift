import Tensors

/// Texts as they lie in files: one file, or a folder of them.
struct TextFiles {
    struct Piece {
        var name: String
        var bytes: [UInt8]
    }

    var train: [Piece]
    /// Of files whose name begins with test.
    var test: [Piece]

    /// Whether a path holds text, where nobody said so: `.txt` files whose first lines are no table.
    static func isText(_ path: String) -> Bool {
        guard let names = try? textNames(path) else { return false }
        return !names.isEmpty
            && names.allSatisfy { name in
                guard let start = try? Files.prefix(of: name, count: 4096) else { return false }
                return !looksLikeTable(start)
            }
    }

    /// Whether a folder holds `.txt` files and nothing else.
    static func isFolderOfTexts(_ path: String) -> Bool { (try? textNames(path))?.isEmpty == false }

    /// One text by its bytes.
    init(bytes: [UInt8]) {
        (train, test) = ([Piece(name: "text", bytes: bytes)], [])
    }

    /// Text out of what a person named as text, whatever it is called.
    init(path: String, maximumBytes: Int) throws(DeMLError) {
        let isFolder = Files.isDirectory(path)
        let names = isFolder ? try Self.textNames(path) : [path]
        guard !names.isEmpty else {
            throw DeMLError(.missing, "the folder holds no .txt files", place: path)
        }
        (train, test) = ([], [])
        for name in names {
            let piece = Piece(
                name: Files.name(of: name),
                bytes: try DatasetSource.attempt(name) { (name) throws(DeMLError) in
                    let stored = try Files.read(name, maximumBytes: maximumBytes)
                    return Gzip.isGzip(stored) ? try Gzip.decompress(stored, maximumBytes: maximumBytes) : stored
                })
            if isFolder, names.count > 1, piece.name.hasPrefix("test") {
                test.append(piece)
            } else {
                train.append(piece)
            }
        }
        guard !train.isEmpty else { throw DeMLError(.missing, "every file begins with test", place: path) }
    }

    /// The files of text at a path, sorted: a file called so, or a folder's.
    private static func textNames(_ path: String) throws(DeMLError) -> [String] {
        func isNamedText(_ name: String) -> Bool { name.hasSuffix(".txt") || name.hasSuffix(".txt.gz") }
        guard Files.isDirectory(path) else { return isNamedText(path) ? [path] : [] }
        let names = try Files.names(in: path).filter { !$0.hasPrefix("README") && !$0.hasPrefix("LICENSE") }
        guard names.contains(where: isNamedText), names.allSatisfy(isNamedText) else { return [] }
        return names.sorted().map { Files.path(path, $0) }
    }

    /// Numbers in lines, or lines with the same number of separators.
    private static func looksLikeTable(_ start: [UInt8]) -> Bool {
        guard !Gzip.isGzip(start) else { return false }
        let lines = start.split(separator: UInt8(ascii: "\n")).dropLast(start.count == 4096 ? 1 : 0).prefix(20)
        guard lines.count > 1 else { return false }
        for separator in [",", ";", "\t", "|"] {
            let counts = lines.map { line in line.count { $0 == Character(separator).asciiValue } }
            if let first = counts.first, first > 0, counts.allSatisfy({ $0 == first }) { return true }
        }
        return lines.allSatisfy { line in
            line.split { $0 == 32 || $0 == 9 || $0 == 13 }.allSatisfy {
                NumberText.number(String(decoding: $0, as: UTF8.self)) != nil
            }
        }
    }
}
