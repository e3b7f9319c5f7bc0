// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

contract ModelRegistryPublishTest is Base {
    function refuse(IModelRegistry.Header memory h, bytes memory io, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(publisher);
        registry.publish(h, io, "", bytes32(0), PRICE);
    }

    function refuseIo(bytes memory io, uint256 offset) private {
        refuse(header(), io, abi.encodeWithSelector(IModelRegistry.BadIo.selector, offset));
    }

    function test_refusesTheSameModelOfTheSamePublisher() public {
        refuse(header(), Toy.io(), abi.encodeWithSelector(IModelRegistry.AlreadyPublished.selector, model));
    }

    function refuseProfile(uint64 profile) private {
        IModelRegistry.Header memory h = header();
        h.profile = profile;
        refuse(h, Toy.io(), abi.encodeWithSelector(IModelRegistry.BadProfile.selector, profile));
    }

    function takeProfile(uint64 profile) private {
        IModelRegistry.Header memory h = header();
        h.profile = profile;
        vm.assertEq(registry.modelOf(publish(h, Toy.io())).header.profile, profile);
    }

    function test_takesEveryProfile() public {
        takeProfile(0x0200000008040000);
        for (uint64 format = 1; format <= 3; format++) {
            takeProfile(0x0300000008040000 | (format << 48));
        }
        for (uint64 size = 16; size <= 1 << 15; size *= 2) {
            takeProfile(0x0100000008040000 | (size << 32));
        }
    }

    function test_refusesWordsOfNoProfile() public {
        // Kinds that there are not.
        refuseProfile(0x0400000008040000);
        refuseProfile(0x8000000008040000);
        // Formats that there are not, and blocks of a kind that has none.
        refuseProfile(0x0300000008040000);
        refuseProfile(0x0304000008040000);
        refuseProfile(0x0381000008040000);
        refuseProfile(0x0301001008040000);
        for (uint64 kind = 0; kind < 3; kind++) {
            uint64 word = (kind << 56) | (kind == 1 ? 0x0000002008040000 : 0x08040000);
            // Flags, other constants, the last bits.
            for (uint64 bit = 0; bit < 56; bit++) {
                if (bit < 32 || bit >= 48) refuseProfile(word ^ (uint64(1) << bit));
                // Two bits make no power of two, and kinds without blocks have none.
                else if (kind != 1 || bit != 37) refuseProfile(word ^ (uint64(1) << bit));
            }
        }
        uint64[5] memory sizes = [uint64(0), 1, 8, 48, 0xffff];
        for (uint256 i; i < sizes.length; i++) {
            refuseProfile(0x0100000008040000 | (sizes[i] << 32));
        }
    }

    function test_refusesCountsThatContradict() public {
        for (uint256 i; i < 4; i++) {
            IModelRegistry.Header memory h = header();
            if (i == 0) h.operators = 0;
            if (i == 1) h.layers = 0;
            if (i == 2) h.layers = h.operators + 1;
            if (i == 3) h.traceValues = h.operators + 1;
            refuse(
                h,
                Toy.io(),
                abi.encodeWithSelector(IModelRegistry.BadCounts.selector, h.operators, h.traceValues, h.layers)
            );
        }
    }

    function test_refusesIoThatIsNotCanonical() public {
        bytes memory one = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4));
        refuseIo("", 0);
        refuseIo(abi.encodePacked(uint8(0), one), 0);
        refuseIo(abi.encodePacked(one, uint8(0)), 7);
        refuseIo(one, 7);
        refuseIo(abi.encodePacked(one, uint8(33)), 7);
        refuseIo(abi.encodePacked(one, one, uint8(0)), 14);
        refuseIo(abi.encodePacked(uint8(1), uint8(3), uint8(0), one), 1);
        refuseIo(abi.encodePacked(uint8(1), uint8(1), uint8(9), new bytes(36), one), 1);
        refuseIo(abi.encodePacked(one, uint8(1), uint8(1), uint8(1), uint24(1)), 8);
        refuseIo(abi.encodePacked(one, uint8(1), uint8(1)), 8);
    }

    function test_refusesTensorsBeyondTwoGibibytes() public {
        bytes memory one = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4));
        refuseIo(abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(1 << 29) + 1, one), 1);
        refuseIo(abi.encodePacked(uint8(2), uint8(2), uint8(1), uint32(1 << 31), uint8(2), uint8(0), one), 7);
        uint32 max = type(uint32).max;
        refuseIo(abi.encodePacked(uint8(1), uint8(7), uint8(8), max, max, max, max, max, max, max, max, one), 1);
    }

    /// What does not fit into a transaction could be requested and never claimed.
    function test_refusesMoreThanSixteenKibibytesEitherWay() public {
        bytes memory one = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4));
        bytes memory large = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4097));
        bytes memory reason = abi.encodeWithSelector(IModelRegistry.TooLarge.selector, 16384, 16388);
        refuse(header(), abi.encodePacked(large, one), reason);
        refuse(header(), abi.encodePacked(one, large), reason);
    }

    function test_takesLargestAndEmptyTensors() public {
        bytes memory one = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4));
        bytes memory most = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4096));
        bytes32 large = publish(header(), abi.encodePacked(most, most));
        vm.assertEq(registry.modelOf(large).inputBytes, 1 << 14);
        uint32 max = type(uint32).max;
        bytes32 empty = publish(header(), abi.encodePacked(uint8(1), uint8(1), uint8(3), max, uint32(0), max, one));
        vm.assertEq(registry.modelOf(empty).inputBytes, 0);
    }

    function test_unknownModelHasNothing() public {
        vm.assertFalse(registry.isPublished(bytes32(0)));
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, bytes32(0)));
        registry.modelOf(bytes32(0));
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, bytes32(0)));
        registry.ioOf(bytes32(0));
    }

    function test_publishes() public {
        IModelRegistry.Header memory h = header();
        bytes32 expected = keccak256(
            abi.encode(
                keccak256("touchstone.model.1"),
                uint256(1),
                stranger,
                h.planRoot,
                h.weightsRoot,
                uint256(24),
                uint256(3),
                uint256(20),
                uint256(3),
                uint64(0x08040000),
                keccak256(Toy.io())
            )
        );
        vm.expectEmit(address(registry));
        emit IModelRegistry.Published(expected, stranger, keccak256("file"), h, Toy.io(), "uri", 7);
        vm.prank(stranger);
        bytes32 id = registry.publish(h, Toy.io(), "uri", keccak256("file"), 7);

        vm.assertEq(id, expected);
        vm.assertNotEq(id, model);
        vm.assertTrue(registry.isPublished(id));
        vm.assertEq(registry.ioOf(id), Toy.io());
        IModelRegistry.Model memory m = registry.modelOf(id);
        vm.assertEq(m.publisher, stranger);
        vm.assertEq(m.price, 7);
        vm.assertEq(m.inputs, 2);
        vm.assertEq(m.outputs, 1);
        vm.assertEq(m.inputBytes, Toy.INPUT_BYTES);
        vm.assertEq(m.outputBytes, Toy.OUTPUT_BYTES);
        vm.assertEq(keccak256(abi.encode(m.header)), keccak256(abi.encode(h)));
    }
}
