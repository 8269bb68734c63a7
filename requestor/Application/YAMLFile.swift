import Tensors
import Yams

/// A YAML or JSON file (JSON is YAML too) as a tree of nodes, with errors that say the line.
enum YAMLFile {
    /// More is not a settings file but a mistake.
    static let maximumBytes = 16 << 20

    /// - Parameter path: as a person wrote it, seen from the working folder.
    static func read(_ path: String, _ paths: Paths) throws(DeMLError) -> Node {
        let place = paths.shown(path)
        let path = paths.resolved(path)
        if Files.isDirectory(path) {
            throw DeMLError(
                .usage, "this is a folder, not a settings file", place: place,
                hint: "a run folder is continued by deml train --resume, a dataset is named by --data")
        }
        let bytes: [UInt8]
        do throws(DeMLError) { bytes = try Files.read(path, maximumBytes: maximumBytes) } catch {
            var error = error
            error.place = place
            throw error
        }
        // Some editors write a byte order mark.
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
        guard let text = String(validating: content, as: UTF8.self) else {
            throw DeMLError(.malformed, "the file is not text in UTF-8", place: place)
        }
        return try parse(text, place: place)
    }

    static func parse(_ text: String, place: String) throws(DeMLError) -> Node {
        do {
            guard let node = try Yams.compose(yaml: text) else {
                throw DeMLError(.malformed, "the file is empty", place: place)
            }
            return node
        } catch let error as DeMLError {
            throw error
        } catch let error as YamlError {
            throw DeMLError(.malformed, "this is not YAML: \(oneLine(error))", place: place)
        } catch {
            throw DeMLError(.malformed, "this is not YAML", place: place, cause: error)
        }
    }

    /// Yams' messages draw the place over several lines; one line with the numbers is enough.
    private static func oneLine(_ error: YamlError) -> String {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let before = context.map { "\($0.text) " } ?? ""
            return "line \(mark.line), column \(mark.column): \(before)\(problem)"
        case .duplicatedKeysInMapping(let duplicates, let context):
            return
                "line \(context.mark.line): the key \(duplicates.map { "\($0)" }.joined(separator: ", ")) stands there twice"
        default:
            return "\(error)".split(separator: "\n").joined(separator: "; ")
        }
    }
}
