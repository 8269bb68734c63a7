import ModelFormats
import Tensors
import Testing

/// Pickles that want something done, and pickles that are broken: one error each, and nothing is run.
@Suite struct PickleTests {
    /// `pickle.dumps` of an object whose `__reduce__` calls a function with a text.
    private func call(_ module: String, _ name: String, _ argument: String) -> [UInt8] {
        [0x80, 2, UInt8(ascii: "c")] + Array("\(module)\n\(name)\n".utf8) + [
            UInt8(ascii: "X"), UInt8(argument.utf8.count), 0, 0, 0,
        ]
            + Array(argument.utf8) + [0x85, UInt8(ascii: "R"), UInt8(ascii: ".")]
    }

    @Test(arguments: [
        ("os", "system"), ("builtins", "eval"), ("posix", "system"), ("subprocess", "Popen"), ("torch", "load"),
    ])
    func aFunctionIsRefusedByName(_ module: String, _ name: String) throws {
        let program = call(module, name, "touch /tmp/harm")
        let alone = refusal { _ = try ForeignModel(program, name: "x.pth") }
        #expect(alone?.message.contains("'\(module).\(name)'") == true)
        let zipped = try ZipArchive.encode([("m/data.pkl", program), ("m/version", [51, 10])])
        let inside = refusal { _ = try ForeignModel(zipped, name: "x.pth") }
        #expect(inside?.message.contains("'\(module).\(name)'") == true)
        let old = try bytes(of: "mlp.old.pth")
        // In the place of the tensors of an old file: behind magic number, version and machine.
        let header = try #require(
            old.indices.first { old[$0...].starts(with: [0x80, 2] + Array("ccollections".utf8)) })
        let third = refusal { _ = try ForeignModel(Array(old[..<header]) + program, name: "x.pth") }
        #expect(third?.message.contains("'\(module).\(name)'") == true)
    }

    @Test func aNameByTextsIsRefusedToo() {
        // STACK_GLOBAL of protocol 4.
        let program: [UInt8] =
            [0x80, 4, 0x8c, 2] + Array("os".utf8) + [0x8c, 6] + Array("system".utf8) + [0x93, UInt8(ascii: ".")]
        #expect(refusal { _ = try ForeignModel(program, name: "x.pt") }?.message.contains("'os.system'") == true)
    }

    @Test func instructionsThatBuildObjectsAreRefused() {
        for code in [UInt8(ascii: "i"), UInt8(ascii: "o"), 0x81, 0x92, 0x82, UInt8(ascii: "P")] {
            let program: [UInt8] = [0x80, 2, UInt8(ascii: "("), UInt8(ascii: "N"), code, UInt8(ascii: ".")]
            let error = refusal { _ = try ForeignModel(program, name: "x.pt") }
            #expect(error?.message.contains("the instruction 0x") == true, "0x\(String(code, radix: 16))")
        }
    }

    @Test func aModuleIsExplained() {
        let error = refusal { _ = try ForeignModel(call("__main__", "Net", ""), name: "x.pt") }
        #expect(error?.hint?.contains("state_dict") == true)
    }

    /// Every beginning of a real file is one clear error.
    @Test(arguments: ["mlp.pth", "mlp.old.pth", "mlp.pt2"])
    func truncatedFiles(_ name: String) throws {
        let whole = try bytes(of: name)
        for count in stride(from: 16, to: whole.count - 1, by: 7) {
            let error = refusal { _ = try ForeignModel(Array(whole[..<count]), name: name) }
            #expect(error != nil, "\(count) of \(whole.count) bytes were read")
            #expect(error?.code != .internal)
        }
    }

    /// A list that holds itself, and a nest as deep as the file is long.
    @Test func nestsAndLoops() {
        let loop: [UInt8] = [
            0x80, 2, UInt8(ascii: "]"), UInt8(ascii: "q"), 0, UInt8(ascii: "h"), 0, UInt8(ascii: "a"),
            UInt8(ascii: "."),
        ]
        #expect(refusal { _ = try ForeignModel(loop, name: "x.pt") } != nil)
        let deep = [0x80, 2, UInt8(ascii: ")")] + [UInt8](repeating: 0x85, count: 200_000) + [UInt8(ascii: ".")]
        #expect(refusal { _ = try ForeignModel(deep, name: "x.pt") } != nil)
    }
}
