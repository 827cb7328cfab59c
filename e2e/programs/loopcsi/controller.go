package main

import (
	"context"
	"os"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// XFS refuses less.
const smallest = 320 << 20

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	} {
		can := &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}}
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{Type: can})
	}
	return answer, nil
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, asked *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	confirmed := &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: asked.VolumeCapabilities}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: confirmed}, nil
}

func (d *driver) CreateVolume(_ context.Context, asked *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	size := max(asked.GetCapacityRange().GetRequiredBytes(), smallest)
	file, err := d.file(asked.Name)
	if err != nil {
		return nil, err
	}
	made := &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: asked.Name, CapacityBytes: size}}
	if _, err := os.Stat(file); err == nil {
		return made, nil
	}
	// It has its name only once it is whole: an interrupted attempt is begun anew.
	unfinished := file + ".unfinished"
	if err := os.WriteFile(unfinished, nil, 0o600); err != nil {
		return nil, err
	}
	if _, err := run("truncate", "--size", strconv.FormatInt(size, 10), unfinished); err != nil {
		return nil, err
	}
	if _, err := run("mkfs.xfs", "-q", "-f", "-K", unfinished); err != nil {
		return nil, err
	}
	return made, os.Rename(unfinished, file)
}

func (d *driver) DeleteVolume(_ context.Context, asked *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	file, err := d.file(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (d *driver) ControllerExpandVolume(_ context.Context, asked *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	file, err := d.file(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	present, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	// Never smaller: what lies beyond would be lost.
	size := max(asked.GetCapacityRange().GetRequiredBytes(), present.Size())
	if _, err := run("truncate", "--size", strconv.FormatInt(size, 10), file); err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: size, NodeExpansionRequired: true}, nil
}
