import Tensors

/// What a pickle says, as far as files of weights need it, and nothing made of it. Python's pickle is a program whose
/// instructions may call any function there is; this reader knows numbers, texts, tuples, lists, dictionaries, and the
/// *names* of functions. A call is kept as a value, `call(name, arguments)`, and done by nobody. A name that no file of
/// weights needs is refused at once.
///
/// Format: the pickletools module of Python, protocols 2 to 5.
struct Pickle {
    /// A value; what holds others is an index into the arrays, so that no depth of nesting costs stack.
    enum Value: Equatable {
        case none
        case bool(Bool)
        case int(Int)
        case double(Double)
        case text(String)
        case bytes([UInt8])
        case name(String)
        /// Of tuples and lists.
        case sequence(Int)
        case dictionary(Int)
        /// A function's name with its arguments.
        case call(Int)
        /// What lies outside of the pickle, by what is said of it.
        case persistent(Int)
    }

    private(set) var root = Value.none
    /// How many bytes the pickle took.
    private(set) var length = 0
    private var sequences: [[Value]] = []
    private var dictionaries: [[(key: Value, value: Value)]] = []
    private var calls: [(name: String, arguments: Value)] = []
    private var persistents: [Value] = []

    /// The names that files of weights have need of.
    static let permittedNames: Set<String> = [
        "collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict",
        "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
        "torch.Size", "torch.device", "torch.serialization._get_layout", "torch.storage.UntypedStorage",
        "torch.FloatStorage", "torch.DoubleStorage", "torch.HalfStorage", "torch.BFloat16Storage",
        "torch.LongStorage", "torch.IntStorage", "torch.ShortStorage", "torch.CharStorage", "torch.ByteStorage",
        "torch.BoolStorage",
    ]

    /// Reads one pickle at the beginning of `bytes`. Throws `truncated` and `malformed`, for a name that is not permitted
    /// too.
    init(_ bytes: ArraySlice<UInt8>) throws(DeMLError) {
        var machine = Machine(bytes: bytes)
        while try machine.step(&self) {}
        root = machine.result
        length = machine.position - bytes.startIndex
    }

    func elements(of value: Value) -> [Value]? {
        if case .sequence(let index) = value { sequences[index] } else { nil }
    }

    func entries(of value: Value) -> [(key: Value, value: Value)]? {
        if case .dictionary(let index) = value { dictionaries[index] } else { nil }
    }

    func call(of value: Value) -> (name: String, arguments: [Value])? {
        guard case .call(let index) = value else { return nil }
        return (calls[index].name, elements(of: calls[index].arguments) ?? [])
    }

    /// Of everything that lies outside of the pickle, what is said of it.
    var allPersistent: [[Value]] { persistents.map { elements(of: $0) ?? [] } }

    func persistent(of value: Value) -> [Value]? {
        if case .persistent(let index) = value { elements(of: persistents[index]) } else { nil }
    }
}

extension Pickle {
    /// The stack, the memo and the place.
    private struct Machine {
        let bytes: ArraySlice<UInt8>
        var position: Int
        var result = Value.none
        private var stack: [Value] = []
        private var marks: [Int] = []
        private var memo: [Int: Value] = [:]

        init(bytes: ArraySlice<UInt8>) {
            self.bytes = bytes
            position = bytes.startIndex
        }

        private mutating func take(_ count: Int) throws(DeMLError) -> ArraySlice<UInt8> {
            guard count >= 0, count <= bytes.endIndex - position else {
                throw DeMLError(.truncated, "the pickle ends in the middle of a value", hint: "is the file complete?")
            }
            defer { position += count }
            return bytes[position..<position + count]
        }

        private mutating func number(_ count: Int) throws(DeMLError) -> Int {
            let value = try take(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return Int(min(value, 1 << 62))
        }

        private mutating func line() throws(DeMLError) -> String {
            let start = position
            while position < bytes.endIndex, bytes[position] != 10 { position += 1 }
            guard position < bytes.endIndex, position - start <= 1000 else {
                throw DeMLError(.malformed, "a name in the pickle is not one of a reasonable length")
            }
            defer { position += 1 }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }

        private mutating func pop() throws(DeMLError) -> Value {
            guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
                throw DeMLError(.malformed, "the pickle takes a value where there is none")
            }
            return value
        }

        private mutating func popMarked() throws(DeMLError) -> [Value] {
            guard let mark = marks.popLast(), mark <= stack.count else {
                throw DeMLError(.malformed, "the pickle takes values up to a mark that is not there")
            }
            defer { stack.removeSubrange(mark...) }
            return Array(stack[mark...])
        }

        private func top() throws(DeMLError) -> Value {
            guard let value = stack.last else {
                throw DeMLError(.malformed, "the pickle takes a value where there is none")
            }
            return value
        }

        private func text(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> Value {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw DeMLError(.malformed, "a text in the pickle is not UTF-8")
            }
            return .text(text)
        }

        private func permitted(_ module: String, _ name: String) throws(DeMLError) -> Value {
            let full = module + "." + name
            guard Pickle.permittedNames.contains(full) else {
                let isModule = module == "__main__" || module.hasPrefix("torch.nn")
                throw DeMLError(
                    .malformed, "the pickle asks for \(full.quotedForMessage), which no file of weights has need of",
                    hint: isModule
                        ? "it holds a whole module: save model.state_dict(), or use torch.export.save"
                        : "nothing of it was run; save tensors alone, as torch.save(model.state_dict(), …) does")
            }
            return .name(full)
        }

        private mutating func push(sequence: [Value], _ pickle: inout Pickle) {
            pickle.sequences.append(sequence)
            stack.append(.sequence(pickle.sequences.count - 1))
        }

        private func append(_ values: [Value], to target: Value, _ pickle: inout Pickle) throws(DeMLError) {
            guard case .sequence(let index) = target else {
                throw DeMLError(.malformed, "the pickle appends to something that is no list")
            }
            pickle.sequences[index] += values
        }

        private func set(_ values: [Value], in target: Value, _ pickle: inout Pickle) throws(DeMLError) {
            guard case .dictionary(let index) = target, values.count % 2 == 0 else {
                throw DeMLError(.malformed, "the pickle sets entries of something that is no dictionary")
            }
            for first in stride(from: 0, to: values.count, by: 2) {
                pickle.dictionaries[index].append((values[first], values[first + 1]))
            }
        }

        /// Does one instruction; false after the last.
        mutating func step(_ pickle: inout Pickle) throws(DeMLError) -> Bool {
            let code = try number(1)
            switch UInt8(code) {
            case 0x80:  // PROTO
                let version = try number(1)
                guard (2...5).contains(version) else {
                    throw DeMLError(.malformed, "the pickle has protocol \(version), not 2 to 5")
                }
            case 0x95: _ = try take(8)  // FRAME
            case UInt8(ascii: "."):
                result = try pop()
                return false
            case UInt8(ascii: "("): marks.append(stack.count)
            case UInt8(ascii: "N"): stack.append(.none)
            case 0x88: stack.append(.bool(true))
            case 0x89: stack.append(.bool(false))
            case UInt8(ascii: "K"): stack.append(.int(try number(1)))
            case UInt8(ascii: "M"): stack.append(.int(try number(2)))
            case UInt8(ascii: "J"): stack.append(.int(Int(Int32(truncatingIfNeeded: try number(4)))))
            case 0x8a: stack.append(try long(try number(1)))
            case UInt8(ascii: "G"):
                let pattern = try take(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                stack.append(.double(Double(bitPattern: pattern)))
            case UInt8(ascii: "X"): stack.append(try text(try take(try number(4))))
            case 0x8c: stack.append(try text(try take(try number(1))))
            case 0x8d: stack.append(try text(try take(try number(8))))
            case UInt8(ascii: "U"): stack.append(try text(try take(try number(1))))
            case UInt8(ascii: "T"): stack.append(try text(try take(try number(4))))
            case UInt8(ascii: "C"): stack.append(.bytes(Array(try take(try number(1)))))
            case UInt8(ascii: "B"): stack.append(.bytes(Array(try take(try number(4)))))
            case UInt8(ascii: ")"), UInt8(ascii: "]"): push(sequence: [], &pickle)
            case UInt8(ascii: "t"): push(sequence: try popMarked(), &pickle)
            case 0x85...0x87:
                var values: [Value] = []
                for _ in 0..<code - 0x84 { values.append(try pop()) }
                push(sequence: values.reversed(), &pickle)
            case UInt8(ascii: "}"): push(dictionary: &pickle)
            case UInt8(ascii: "a"):
                let value = try pop()
                try append([value], to: try top(), &pickle)
            case UInt8(ascii: "e"):
                let values = try popMarked()
                try append(values, to: try top(), &pickle)
            case UInt8(ascii: "s"):
                let value = try pop()
                let key = try pop()
                try set([key, value], in: try top(), &pickle)
            case UInt8(ascii: "u"):
                let values = try popMarked()
                try set(values, in: try top(), &pickle)
            case UInt8(ascii: "q"): memo[try number(1)] = try top()
            case UInt8(ascii: "r"): memo[try number(4)] = try top()
            case 0x94: memo[memo.count] = try top()
            case UInt8(ascii: "h"): try recall(try number(1))
            case UInt8(ascii: "j"): try recall(try number(4))
            case UInt8(ascii: "c"):
                let module = try line()
                stack.append(try permitted(module, try line()))
            case 0x93:
                guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
                    throw DeMLError(.malformed, "the pickle names a function by something that is no text")
                }
                stack.append(try permitted(module, name))
            case UInt8(ascii: "Q"):
                pickle.persistents.append(try pop())
                stack.append(.persistent(pickle.persistents.count - 1))
            case UInt8(ascii: "R"): try reduce(&pickle)
            // The state of an object: an ordered dictionary's attributes, which say nothing of the tensors.
            case UInt8(ascii: "b"): _ = try pop()
            case UInt8(ascii: "0"): _ = try pop()
            default:
                throw DeMLError(
                    .malformed,
                    "the pickle has the instruction 0x\(String(code, radix: 16)), which no file of weights has need of",
                    hint: "nothing of it was run; save tensors alone, as torch.save(model.state_dict(), …) does")
            }
            return true
        }

        private mutating func recall(_ index: Int) throws(DeMLError) {
            guard let value = memo[index] else {
                throw DeMLError(.malformed, "the pickle recalls a value that it never kept")
            }
            stack.append(value)
        }

        private mutating func push(dictionary pickle: inout Pickle) {
            pickle.dictionaries.append([])
            stack.append(.dictionary(pickle.dictionaries.count - 1))
        }

        /// A whole number of up to 255 bytes; more than 64 bits are kept as their bytes (a magic number of old files).
        private mutating func long(_ count: Int) throws(DeMLError) -> Value {
            let digits = try take(count)
            guard digits.count <= 8 else { return .bytes(Array(digits)) }
            var value = digits.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            if let last = digits.last, last >= 0x80, digits.count < 8 { value |= ~UInt64(0) << (8 * digits.count) }
            return .int(Int(Int64(bitPattern: value)))
        }

        /// Calls nothing: an empty dictionary is made where one is asked for, and all else is kept as it was said.
        private mutating func reduce(_ pickle: inout Pickle) throws(DeMLError) {
            let arguments = try pop()
            guard case .name(let name) = try pop(), pickle.elements(of: arguments) != nil else {
                throw DeMLError(.malformed, "the pickle calls something that is no function")
            }
            guard name.hasSuffix("Dict") || name.hasSuffix(".dict") || name.hasSuffix("defaultdict") else {
                pickle.calls.append((name, arguments))
                return stack.append(.call(pickle.calls.count - 1))
            }
            push(dictionary: &pickle)
            // OrderedDict([[key, value], …]), as protocol 2 of Python 2 wrote it.
            guard let dictionary = stack.last, let pairs = pickle.elements(of: arguments)?.first else { return }
            for pair in pickle.elements(of: pairs) ?? [] {
                try set(pickle.elements(of: pair) ?? [.none], in: dictionary, &pickle)
            }
        }
    }
}
